# The embedded model: a small ViT on the embedded motions.
#   python tools/test.py configs/sta_vit_motions.py checkpoints/sta_vit_motions.safetensors
_base_ = [
    '_base_/models/sta_vit_motions.py',
    '_base_/datasets/motions.py',
    '_base_/runtime.py',
]
test_cfg = dict(schedules=[0, 4, 8, 12, 16])
