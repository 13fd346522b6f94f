"""Count multiply-accumulates on the model that runs, fused attention included.

1 GFLOP = 1e9 multiply-accumulates, the convention of fvcore and of the paper. fvcore, mmengine and,
on a CPU, torch's own counter report nothing for fused attention. Here the model runs once on the
meta device, which computes shapes only: no weights, no data, about a second for a ViT-H.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from sta.evaluation import Cost
from sta.models.prunable import drops_at_input
from sta.pruning import ScheduleError, Variant


class Recognizer(nn.Module):
    """Backbone and head in one forward, which is what is counted."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = head

    def forward(self, clip: Tensor) -> Tensor:
        """Map (B, 3, frames, H, W) to (B, classes)."""
        return self.cls_head(self.backbone(clip))


def count_macs(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass, as it would run.

    Counted are convolutions, matrix products, attention as Nq * Nk * (Dk + Dv) per head, and 5 per
    element of a LayerNorm, as fvcore does; element-wise operations count nothing.

    Args:
        model: takes a clip; its weights are neither read nor copied.
        clip_shape: (B, 3, frames, H, W).
    """
    tensors = {
        name: tensor.detach().to('meta')
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    counter = FlopCounterMode(display=False, custom_mapping=_custom_mapping())
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), counter:
            functional_call(model, tensors, (torch.empty(clip_shape, device='meta'),))
    finally:
        for module, training in was_training.items():
            module.training = training
    return counter.get_total_flops() // 2  # torch counts a multiply-accumulate as two


def count_costs(
    model: nn.Module, variants: Iterable[Variant], clip_shape: tuple[int, int, int, int]
) -> list[Cost]:
    """Cost of every variant of a recognizer.

    Args:
        model: with ``backbone`` (that takes variants) and ``cls_head``.
        variants: what to count.
        clip_shape: (3, frames, H, W) of one view.

    Raises:
        ScheduleError: a variant does not fit the model, or costs what its clips make it cost.
    """
    whole = Recognizer(model.backbone, model.cls_head)
    num_parameters = sum(p.numel() for p in whole.parameters())
    costs = []
    for variant in variants:
        with model.backbone.using(variant):
            if drops_at_input(model.backbone.pruner):
                raise ScheduleError(
                    f'what {variant.name} costs depends on the clips: tools/test.py reports the '
                    f'average over those it evaluates'
                )
            macs = count_macs(whole, (1, *clip_shape))
            num_tokens = model.backbone.num_tokens(clip_shape)
            left = model.backbone.tokens_after_stages(clip_shape)
        costs.append(Cost(num_tokens, tuple(left), macs / 1e9, num_parameters))
    return costs


def _layer_norm_flops(input_shape: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * 5 * prod(input_shape)


def _attention_flops(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    batch, heads, num_queries, width = query
    return 2 * batch * heads * num_queries * key[2] * (width + value[3])


def _custom_mapping() -> Mapping[Any, Any]:
    aten = torch.ops.aten
    mapping = {aten.native_layer_norm: _layer_norm_flops}
    # Names of the fused kernels differ between releases and devices.
    for name in (
        '_scaled_dot_product_flash_attention_for_cpu',
        '_scaled_dot_product_flash_attention',
        '_scaled_dot_product_efficient_attention',
        '_scaled_dot_product_cudnn_attention',
        '_scaled_dot_product_fused_attention_overrideable',
    ):
        if hasattr(aten, name):
            mapping[getattr(aten, name)] = _attention_flops
    return mapping
