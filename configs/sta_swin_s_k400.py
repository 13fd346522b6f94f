# STA on VideoSwin-S, Kinetics-400.
#   python tools/test.py configs/sta_swin_s_k400.py ckpt.pth
_base_ = 'sta_swin_k400.py'
model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1),
    cls_head=dict(in_channels=768),
)
