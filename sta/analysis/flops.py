"""Count multiply-accumulates on the model that runs, fused attention included.

1 GFLOP = 1e9 multiply-accumulates, the convention of fvcore and of the paper. fvcore, mmengine and,
on a CPU, torch's own counter report nothing for fused attention. Here the model runs once on the
meta device, which computes shapes only: no weights, no data, about a second for a ViT-H.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sta.evaluation import Cost
from sta.pruning import ScheduleError, Variant

aten = torch.ops.aten
# The names of the fused kernels differ between releases and devices.
ATTENTION = [
    getattr(aten, f'_scaled_dot_product_{kernel}')
    for kernel in (
        'flash_attention_for_cpu',
        'flash_attention',
        'efficient_attention',
        'cudnn_attention',
        'fused_attention_overrideable',
    )
    if hasattr(aten, f'_scaled_dot_product_{kernel}')
]


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
    counter = _Counter()
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), counter:
            functional_call(model, tensors, (torch.empty(clip_shape, device='meta'),))
    finally:
        for module, training in was_training.items():
            module.training = training
    return counter.macs


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
            if model.backbone.pruner.at_input:
                raise ScheduleError(
                    f'what {variant.name} costs depends on the clips: tools/test.py reports the '
                    f'average over those it evaluates'
                )
            macs = count_macs(whole, (1, *clip_shape))
            num_tokens = model.backbone.num_tokens(clip_shape)
            left = model.backbone.tokens_after_stages(clip_shape)
        costs.append(Cost(num_tokens, tuple(left), macs / 1e9, num_parameters))
    return costs


class _Counter(TorchDispatchMode):
    """Adds up multiply-accumulates by torch's own formulas, attention and LayerNorm by ours.

    torch's FlopCounterMode finds the same numbers in twice the time: the meta device derives the
    shape of a LayerNorm and of a linear layer, most of a transformer, by Python code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet, kwargs = function._overloadpacket, kwargs or {}
        if packet is aten.native_layer_norm:
            self.macs += 5 * args[0].numel()
            mean = args[0].new_empty((*args[0].shape[: -len(args[1])], *(1 for _ in args[1])))
            return torch.empty_like(args[0]), mean, mean
        if packet is aten.addmm:
            _, left, right = args
            self.macs += left.numel() * right.shape[1]
            return left.new_empty((left.shape[0], right.shape[1]))
        out = function(*args, **kwargs)
        if packet in ATTENTION:
            self.macs += _attention_macs(*args[:3])
        elif packet in flop_registry:
            # torch counts a multiply-accumulate as two.
            self.macs += flop_registry[packet](*args, **kwargs, out_val=out) // 2
        return out


def _attention_macs(query: Tensor, key: Tensor, value: Tensor) -> int:
    return query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
