# STA on VideoMAE ViT-L, Something-Something V2.
#   python tools/test.py configs/sta_vit_l_ssv2.py ckpt.pth
_base_ = 'sta_vit_ssv2.py'
model = dict(
    backbone=dict(embed_dims=1024, depth=24, num_heads=16), cls_head=dict(in_channels=1024)
)
