# The embedded ViT: 6 blocks of width 128 on 16 x 96 x 96, ten classes.
_base_ = 'sta_vit.py'
model = dict(
    backbone=dict(img_size=96, embed_dims=128, depth=6, num_heads=2),
    cls_head=dict(num_classes=10, in_channels=128),
)
