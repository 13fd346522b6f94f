# STA on VideoMAE ViT-L, Kinetics-400.
#   python tools/test.py configs/sta_vit_l_k400.py ckpt.pth
_base_ = 'sta_vit_k400.py'
model = dict(
    backbone=dict(embed_dims=1024, depth=24, num_heads=16), cls_head=dict(in_channels=1024)
)
