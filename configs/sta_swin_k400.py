# STA on VideoSwin-B, Kinetics-400, 4 clips x 3 crops (Table 3).
#   python tools/test.py configs/sta_swin_k400.py ckpt.pth
_base_ = [
    '_base_/models/sta_swin.py',
    '_base_/datasets/kinetics400_videoswin.py',
    '_base_/runtime.py',
]
