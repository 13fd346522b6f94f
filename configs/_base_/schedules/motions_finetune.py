# Six epochs of the fine-tuning recipe for the embedded ViT, at the rate of supplementary Table 1: 5e-4.
_base_ = 'videomae_finetune.py'
train_cfg = dict(max_epochs=6, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(num_layers=6))
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=1,
        end=6,
        T_max=5,
        eta_min_ratio=1e-3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
