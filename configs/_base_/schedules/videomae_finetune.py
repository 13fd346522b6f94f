# Fine-tuning on Kinetics-400 as in supplementary Table 1: AdamW, a rate of 1e-3 per 256 videos, 5 epochs
# of warm-up, cosine, 100 epochs; lower rates for lower layers, as VideoMAE has it.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=5)
val_cfg = dict(type='SoundVideosValLoop')
val_evaluator = dict(type='AccMetric')
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='LearningRateDecayOptimizerConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_type='layer_wise', decay_rate=0.75, num_layers=12),
)
# The rate is multiplied by GPUs * train_dataloader.batch_size / 256.
auto_scale_lr = dict(enable=True, base_batch_size=256)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=5,
        end=100,
        T_max=95,
        eta_min_ratio=1e-3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
