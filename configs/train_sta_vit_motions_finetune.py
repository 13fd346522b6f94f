# Fine-tunes the embedded ViT with STA, r = 16, by the recipe of train_sta_vit_k400.py (docs/training.md):
#   python tools/train.py configs/train_sta_vit_motions_finetune.py --amp bf16
_base_ = [
    '_base_/models/sta_vit_motions.py',
    '_base_/datasets/motions_augmented.py',
    '_base_/schedules/motions_finetune.py',
    '_base_/runtime.py',
]
load_from = '{{ fileDirname }}/../checkpoints/sta_vit_motions.safetensors'
blending = [
    dict(type='MixupBlending', num_classes=10, alpha=0.8),
    dict(type='CutmixBlending', num_classes=10, alpha=1.0),
]
model = dict(
    backbone=dict(schedule=16, drop_path_rate=0.1),
    cls_head=dict(label_smooth_eps=0.1),
    data_preprocessor=dict(blending=dict(type='RandomBatchAugment', augments=blending)),
)
test_cfg = dict(schedules=[0, 4, 8, 12, 16])
