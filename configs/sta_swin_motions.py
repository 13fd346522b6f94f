# The embedded VideoSwin: three stages on the embedded motions.
#   python tools/test.py configs/sta_swin_motions.py checkpoints/sta_swin_motions.safetensors
_base_ = ['_base_/models/sta_swin.py', '_base_/datasets/motions.py', '_base_/runtime.py']
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=64, depths=[2, 2, 2], num_heads=[2, 4, 8]),
        patch_size=(2, 8, 8),
        window_size=(8, 3, 3),
        drop_path_rate=0.0,
        num_frames=16,
        img_size=96,
    ),
    cls_head=dict(num_classes=10, in_channels=256, dropout_ratio=0.0),
)
test_cfg = dict(schedules=[0, [4, 1], [8, 2], [12, 3], [16, 4]])
