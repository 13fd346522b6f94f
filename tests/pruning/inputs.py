"""Seeded inputs for the pruning tests."""

from __future__ import annotations

import torch
from torch import Tensor

from sta.pruning import StageContext


def random_stage(
    seed: int, *, clips: int, length: int, channels: int = 6, width: int = 5
) -> tuple[Tensor, Tensor]:
    """Tokens (B, L, C) and keys (B, L, D), normally distributed."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(clips, length, channels, generator=generator)
    return tokens, torch.randn(clips, length, width, generator=generator)


def stage_context(
    clips: int,
    length: int,
    *,
    grid_size: tuple[int, int] | None = None,
    positions: Tensor | None = None,
    clip_ids: list[int] | None = None,
    sizes: Tensor | None = None,
    stage_index: int = 0,
) -> StageContext:
    """Context of a stage; by default every token lies in one row of the frame."""
    grid_size = grid_size or (1, length)
    if positions is None:
        places = grid_size[0] * grid_size[1]
        positions = torch.arange(length).remainder(places).expand(clips, length)
    return StageContext(
        stage_index=stage_index,
        positions=positions,
        grid_size=grid_size,
        clip_ids=torch.tensor(list(range(clips)) if clip_ids is None else clip_ids),
        sizes=sizes,
    )
