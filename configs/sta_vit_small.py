# The architecture of the embedded ViT for videos of one's own (docs/own_videos.md): small enough to be trained on a
# CPU, and to begin from checkpoints/sta_vit_motions.safetensors. tools/prepare_custom.py inherits from it.
_base_ = [
    '_base_/models/sta_vit_motions.py',
    '_base_/datasets/own_videos.py',
    '_base_/runtime.py',
]
test_cfg = dict(schedules=[0, 4, 8, 12, 16])
