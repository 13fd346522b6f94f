"""Where the tokens that are left come from: an index map, not an N x N matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def origins(kept_per_stage: Sequence[Tensor]) -> list[Tensor]:
    """Compose the kept indices of the stages.

    Args:
        kept_per_stage: (B, L_i) int64 each, indices into the input of that stage.

    Returns:
        (B, L_i) int64 each, indices into the input of the first stage.
    """
    composed: list[Tensor] = []
    for kept in kept_per_stage:
        composed.append(composed[-1].gather(1, kept) if composed else kept)
    return composed


def trace(kept_per_stage: Sequence[Tensor], grid: tuple[int, int, int]) -> Tensor:
    """Place of every token that is left after the last stage.

    Args:
        kept_per_stage: (B, L_i) int64 each, indices into the input of that stage; may be empty only
            for a model without stages, which needs no tracing.
        grid: (T, H, W) of the model's token grid.

    Returns:
        (B, K, 3) int64: frame, row and column of the token grid.

    Raises:
        ValueError: no stages.
    """
    if not kept_per_stage:
        raise ValueError('nothing to trace: no pruning stage was run')
    index = origins(kept_per_stage)[-1]
    _, height, width = grid
    row = torch.div(index, width, rounding_mode='floor')
    frame = torch.div(row, height, rounding_mode='floor')
    return torch.stack([frame, row % height, index % width], dim=-1)
