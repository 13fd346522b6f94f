# STA on VideoMAE ViT-B, Something-Something V2, 2 clips x 3 crops (Table 2).
#   python tools/test.py configs/sta_vit_ssv2.py ckpt.pth
_base_ = [
    '_base_/models/sta_vit.py',
    '_base_/datasets/ssv2_videomae.py',
    '_base_/runtime.py',
]
model = dict(cls_head=dict(num_classes=174))
