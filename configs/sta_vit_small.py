# The architecture of the embedded ViT for videos of one's own (docs/own_videos.md): it can be trained on a CPU.
# tools/prepare_custom.py writes configs that inherit from it; what it costs:
#   python tools/count_flops.py configs/sta_vit_small.py
_base_ = [
    '_base_/models/sta_vit_motions.py',
    '_base_/datasets/own_videos.py',
    '_base_/runtime.py',
]
test_cfg = dict(schedules=[0, 4, 8, 12, 16])
