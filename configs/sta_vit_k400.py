# STA on VideoMAE ViT-B, Kinetics-400, 5 clips x 3 crops (Table 2).
#   python tools/test.py configs/sta_vit_k400.py ckpt.pth
_base_ = [
    '_base_/models/sta_vit.py',
    '_base_/datasets/kinetics400_videomae.py',
    '_base_/runtime.py',
]
