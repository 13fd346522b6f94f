"""What a benchmark times: a backbone under several variants, eager or compiled, and the host's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sta.errors import ConfigError
from sta.models.prunable import PrunableBackbone
from sta.pruning import Variant

# What --compile takes: torch.compile's modes, of which some record CUDA graphs on a GPU.
MODES = ('default', 'reduce-overhead', 'max-autotune')
WITH_CUDA_GRAPHS = MODES[1:]


def twins_of(
    backbone: PrunableBackbone, variants: Sequence[Variant]
) -> dict[str, PrunableBackbone]:
    """One backbone for each variant, all on the same weights."""
    twins = {}
    for variant in variants:
        twins[variant.name] = copy.copy(backbone)  # its own schedule and pruner, shared modules
        twins[variant.name].set_variant(variant)
    return twins


def compiled(twins: Mapping[str, nn.Module], mode: str) -> dict[str, Any]:
    """The same backbones through torch.compile, each in one graph per size of batch.

    Raises:
        ConfigError: a pruner whose shapes depend on the clip.
    """
    for name, twin in twins.items():
        if twin.pruner.at_input:
            raise ConfigError(
                f'--compile: {name} lets the clip say how many tokens stay, which makes no graph '
                f'of fixed shapes; leave it out'
            )
    return {
        name: torch.compile(twin, fullgraph=True, dynamic=False, mode=mode)
        for name, twin in twins.items()
    }


class UnderAutocast(nn.Module):
    """A module whose forward runs under autocast.

    Args:
        module: which one.
        dtype: autocast's.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype

    def forward(self, clips: Tensor) -> Any:
        """Run it."""
        with torch.autocast(clips.device.type, dtype=self.dtype):
            return self.module(clips)


def host_of(backbone: PrunableBackbone) -> nn.Module:
    """mmaction2's own backbone on the same weights, as it can be run in their precision."""
    host, dtype = backbone.host(), next(backbone.parameters()).dtype
    if dtype == torch.float32 or not backbone.host_needs_autocast:
        return host
    return UnderAutocast(host, dtype)


def with_backward(model: nn.Module) -> Callable[[Tensor], None]:
    """A forward and a backward pass of a model, as a training step has them; keeps no gradients.

    Without loss, update and random depth, which no pruning changes.
    """

    def run(clips: Tensor) -> None:
        with torch.enable_grad():
            model(clips).float().square().mean().backward()
        for parameter in model.parameters():
            parameter.grad = None

    return run
