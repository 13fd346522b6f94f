# STA on VideoMAE ViT-S, Something-Something V2.
#   python tools/test.py configs/sta_vit_s_ssv2.py ckpt.pth
_base_ = 'sta_vit_ssv2.py'
model = dict(backbone=dict(embed_dims=384, num_heads=6), cls_head=dict(in_channels=384))
