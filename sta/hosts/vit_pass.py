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


class CurrentPass:
    """The forward pass of each thread, so that threads may share a model; a copy starts with none.

    Not a threading.local, and without threads where torch.compile traces: dynamo understands
    neither.
    """

    def __init__(self) -> None:
        self._by_thread: dict[int, ForwardPass] = {}

    def __reduce__(self) -> tuple[type[CurrentPass], tuple[()]]:
        return CurrentPass, ()

    @property
    def passing(self) -> ForwardPass | None:
        """That of the calling thread, or None."""
        return self._by_thread.get(_thread())

    def begin(self, passing: ForwardPass) -> None:
        """Start a pass in the calling thread."""
        self._by_thread[_thread()] = passing

    def end(self) -> None:
        """Forget that of the calling thread."""
        self._by_thread.pop(_thread(), None)


def _thread() -> int:
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


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
