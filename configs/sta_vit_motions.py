# The embedded model: a small ViT on the embedded motions.
#   python tools/test.py configs/sta_vit_motions.py checkpoints/sta_vit_motions.safetensors
_base_ = ['_base_/models/sta_vit.py', '_base_/datasets/motions.py', '_base_/runtime.py']
model = dict(
    backbone=dict(img_size=96, embed_dims=128, depth=6, num_heads=2),
    cls_head=dict(num_classes=10, in_channels=128),
)
test_cfg = dict(schedules=[0, 4, 8, 12, 16])
