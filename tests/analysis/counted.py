"""What is counted: a backbone with mmaction2's head."""

from __future__ import annotations

from mmaction.registry import MODELS
from torch import nn

from sta.analysis import count_costs
from sta.pruning import Variant


class Model(nn.Module):
    """What is counted: a backbone and mmaction2's head."""

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = MODELS.build(
            {
                'type': 'TimeSformerHead',
                'num_classes': classes,
                'in_channels': backbone.embed_dims,
                'average_clips': 'prob',
            }
        )


def count(model: Model, schedule, pruner: dict | None = None) -> int:
    (cost,) = count_costs(model, [Variant('v', pruner, schedule)], model.backbone.clip_shape)
    return round(cost.gflops_per_view * 1e9)
