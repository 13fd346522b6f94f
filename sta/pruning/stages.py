"""The one loop over pruning stages: our backbones and models of other libraries run their blocks,
and ask behind each which tokens stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Pruner, StageContext
from .random_drop import clip_fingerprint
from .schedule import PruningSchedule

Size = tuple[int, int, int]


class StageRun:
    """One forward pass of a batch of clips through the stages of a schedule.

    A model runs its blocks, numbered from 0, and hands over what they put out::

        run = StageRun(schedule, pruner, clips, grid)
        for number, block in enumerate(blocks):
            tokens, features = block(tokens, run.similarity_after(number))
            tokens = run.after_block(number, tokens, features)

    Args:
        schedule: that fits the grid.
        pruner: that can serve its stages.
        clips: (B, 3, frames, H, W), for pruners that draw.
        grid: (T, H, W) of the tokens that enter the first block.

    Attributes:
        kept: (B, L_i) int64 of every stage passed, indices into its input.
    """

    def __init__(
        self, schedule: PruningSchedule, pruner: Pruner, clips: Tensor, grid: Size
    ) -> None:
        self._stages = {stage.after_block: (i, stage) for i, stage in enumerate(schedule.stages)}
        self._pruner = pruner
        self._context = first_context(clips, grid, draws=pruner.draws) if schedule.active else None
        self.kept: list[Tensor] = []

    @property
    def sizes(self) -> Tensor | None:
        """(B, L) float32, how many input tokens each one that is left stands for; None: one."""
        return None if self._context is None else self._context.sizes

    @property
    def shape(self) -> tuple[int, int]:
        """B and L of the tokens that the next stage will see."""
        assert self._context is not None  # where a stage is yet to come
        batch, length = self._context.positions.shape
        return batch, length

    def drops_after(self, block: int) -> bool:
        """Whether tokens go behind a block."""
        return block in self._stages and self._stages[block][1].num_drop > 0

    def similarity_after(self, block: int) -> str | None:
        """What the stage behind a block compares tokens by, as Pruner.similarity; None: nothing."""
        return self._pruner.similarity if self.drops_after(block) else None

    def refilled(self, grid: Size) -> None:
        """Go on with the tokens of a full grid (T, H, W), as a patch merging leaves it."""
        if self._context is not None:
            self._context = self._context._replace(
                positions=_positions_in_frame(grid, self._context.clip_ids),
                grid_size=grid[1:],
                sizes=None,
            )

    def after_block(self, block: int, tokens: Tensor, features: Tensor | None) -> Tensor:
        """Run the stage behind a block, where there is one.

        Args:
            block: its number.
            tokens: (B, L, C), what it puts out.
            features: (B, L, D), what ``similarity_after`` asked for.

        Returns:
            (B, L', C), the tokens for the next block.
        """
        if block not in self._stages:
            return tokens
        if not self.drops_after(block):
            everything = torch.arange(tokens.shape[1], device=tokens.device)
            self.kept.append(everything.repeat(tokens.shape[0], 1))
            return tokens
        assert self._context is not None  # where something is dropped
        index, stage = self._stages[block]
        context = self._context._replace(stage_index=index)
        pruned = self._pruner(tokens, features, stage, context)
        self._context = context._replace(
            positions=context.positions.gather(1, pruned.kept), sizes=pruned.sizes
        )
        self.kept.append(pruned.kept)
        return pruned.tokens


def first_context(clips: Tensor, grid: Size, *, draws: bool) -> StageContext:
    """The context of the first stage.

    Args:
        clips: (B, 3, frames, H, W).
        grid: (T, H, W) of tokens.
        draws: whether clips must be told apart.
    """
    if draws:
        clip_ids = clip_fingerprint(clips)
    else:
        clip_ids = torch.zeros(clips.shape[0], dtype=torch.int64, device=clips.device)
    return StageContext(
        stage_index=0,
        positions=_positions_in_frame(grid, clip_ids),
        grid_size=grid[1:],
        clip_ids=clip_ids,
    )


def _positions_in_frame(grid: Size, clip_ids: Tensor) -> Tensor:
    """(B, T*H*W) int64 row * W + column of every token of a full grid."""
    frames, rows, columns = grid
    positions = torch.arange(rows * columns, device=clip_ids.device)
    return positions.repeat(frames).expand(clip_ids.shape[0], -1)
