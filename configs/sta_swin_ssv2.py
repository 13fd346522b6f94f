# STA on VideoSwin-B, Something-Something V2, 1 clip x 3 crops (Table 3).
#   python tools/test.py configs/sta_swin_ssv2.py ckpt.pth
_base_ = [
    '_base_/models/sta_swin.py',
    '_base_/datasets/ssv2_videoswin.py',
    '_base_/runtime.py',
]
model = dict(
    backbone=dict(window_size=(16, 7, 7), drop_path_rate=0.4),
    cls_head=dict(num_classes=174),
)
