"""Where a vision transformer of somebody else's keeps what pruning needs: one subclass per host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import HostModelError

Size = tuple[int, int, int]
PARTS = ('query', 'key', 'value')


class Projection(NamedTuple):
    """One of a block's projections of normalised tokens to queries, keys or values.

    Attributes:
        weight: (H * D, C).
        bias: (H * D,) or None.
        num_heads: H.
    """

    weight: Tensor
    bias: Tensor | None
    num_heads: int


def head_mean(normed: Tensor, projection: Projection) -> Tensor:
    """Project (B, L, C) and average over heads: (B, L, D), without gradient.

    The mean of projections is the projection by their mean, at 1 / H of the cost.
    """
    weight, bias, num_heads = projection
    with torch.no_grad():
        weight = weight.unflatten(0, (num_heads, -1)).mean(0)
        if bias is not None:
            bias = bias.unflatten(0, (num_heads, -1)).mean(0)
        return F.linear(normed, weight, bias)


class Anatomy(ABC):
    """What differs between hosts; holds settings only, so it can be pickled.

    Attributes:
        embedding_path: module of the host that is given the pixels.
        blocks_path: its transformer blocks.
        norm_path: module of a block whose output attention reads.
        ffn_path: module of a block that puts out its feed-forward, before LayerScale and residual.
        join_path: module of the host whose output :meth:`join` replaces; None for none.
        refused_methods: of the host, which cannot work while tokens are dropped.
    """

    embedding_path: str
    blocks_path: str
    norm_path: str
    ffn_path: str
    join_path: str | None = None
    refused_methods: tuple[str, ...] = ()

    @abstractmethod
    def check(self, host: nn.Module) -> None:
        """Raise HostModelError for a model whose result would not be that of pruning."""

    @abstractmethod
    def grid_of_model(self, host: nn.Module) -> Size:
        """(T, H, W) of tokens of the clips the model is made for."""

    @abstractmethod
    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """(B, 3, frames, H, W) from what the embedding was called with."""

    @abstractmethod
    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens of this clip."""

    @abstractmethod
    def projection(self, block: nn.Module, part: str) -> Projection:
        """Of 'query', 'key' or 'value'."""

    def checkpointed(self, host: nn.Module) -> bool:
        """Whether blocks recompute their activations in the backward pass."""
        return False

    def join(self, tokens: Tensor) -> Tensor:
        """What becomes of the output of ``join_path``; nothing."""
        return tokens

    def blocks(self, host: nn.Module) -> list[nn.Module]:
        """The transformer blocks in order."""
        return list(submodule(host, self.blocks_path).children())

    def check_structure(self, host: nn.Module) -> None:
        """Raise HostModelError unless everything is where this class expects it.

        Libraries move their modules between versions, and adapters put others in their places.
        """
        submodule(host, self.embedding_path)
        for block in self.blocks(host):
            submodule(block, self.norm_path)
            submodule(block, self.ffn_path)
            for part in PARTS:
                self.projection(block, part)


def submodule(module: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path.

    Raises:
        HostModelError: there is none.
    """
    try:
        return module.get_submodule(path)
    except AttributeError:
        kind = type(module)
        raise HostModelError(
            f'{kind.__name__} of {kind.__module__.split(".")[0]} has no {path!r} here: this '
            f'version of it, or what was put into it, is not known to sta'
        ) from None


def linear(module: nn.Module, path: str) -> nn.Linear:
    """The plain linear layer at a dotted path.

    Raises:
        HostModelError: something else stands there, such as an adapter or quantised weights, whose
            output is not that of its ``weight``.
    """
    layer = submodule(module, path)
    if isinstance(layer, nn.Linear) and layer.weight.is_floating_point():
        return layer
    raise HostModelError(
        f'{path!r} of {type(module).__name__} is a {type(layer).__name__}, not a plain '
        f'torch.nn.Linear: merge adapters first (merge_and_unload), and do not quantise'
    )
