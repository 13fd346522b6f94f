# Trains checkpoints/sta_swin_motions.safetensors without dropping any token, from the first lesson:
#   python tools/train.py configs/train_sta_swin_motions.py --amp bf16
_base_ = ['sta_swin_motions.py', '_base_/schedules/motions.py']
train_cfg = dict(max_epochs=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=1,
        end=6,
        T_max=5,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
load_from = 'work_dirs/train_sta_swin_motions_easy/epoch_2.pth'
