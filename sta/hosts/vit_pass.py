"""What is known during one forward pass of a pruned vision transformer, and forgotten after it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sta.pruning import PruningStage, StageContext, clip_fingerprint

from .anatomy import Size


@dataclass
class ForwardPass:
    """One forward pass.

    Attributes:
        stages: number and stage after each 0-based block that has one.
        context: of the next stage.
        features: what the running block compares tokens by or computes that from, (B, L, .).
        kept: (B, L_i) int64 per stage run so far, indices into its input.
    """

    stages: dict[int, tuple[int, PruningStage]]
    context: StageContext
    features: Tensor | None = None
    kept: list[Tensor] = field(default_factory=list)


class CurrentPass(threading.local):
    """The pass of this thread, or None; a copy starts with none."""

    passing: ForwardPass | None = None

    def __reduce__(self) -> tuple[type[CurrentPass], tuple[()]]:
        return CurrentPass, ()


def first_context(grid: Size, clip: Tensor, *, draws: bool) -> StageContext:
    """The context of the first stage.

    Args:
        grid: (T, H, W) of tokens.
        clip: (B, 3, frames, H, W).
        draws: whether clips must be told apart.
    """
    frames, rows, columns = grid
    positions = torch.arange(rows * columns, device=clip.device).repeat(frames)
    if draws:
        clip_ids = clip_fingerprint(clip)
    else:
        clip_ids = torch.zeros(len(clip), dtype=torch.int64, device=clip.device)
    return StageContext(
        stage_index=0,
        positions=positions.expand(len(clip), -1),
        grid_size=(rows, columns),
        clip_ids=clip_ids,
    )
