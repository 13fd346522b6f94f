# Fine-tunes VideoMAE ViT-B on Kinetics-400 with STA, r = 48 (supplementary Table 1; docs/training.md):
#   python tools/train.py configs/train_sta_vit_k400.py --amp bf16
_base_ = [
    'sta_vit_k400.py',
    '_base_/datasets/kinetics400_videomae_train.py',
    '_base_/schedules/videomae_finetune.py',
]
pretrained = '{{ fileDirname }}/../checkpoints/videomae_vit_b_k400_pretrain.pth'
blending = [
    dict(type='MixupBlending', num_classes=400, alpha=0.8),
    dict(type='CutmixBlending', num_classes=400, alpha=1.0),
]
model = dict(
    backbone=dict(schedule=48, drop_path_rate=0.1),
    cls_head=dict(label_smooth_eps=0.1),
    data_preprocessor=dict(blending=dict(type='RandomBatchAugment', augments=blending)),
)
