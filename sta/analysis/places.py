"""Which place of which grid every token of every block has, in ViT and in VideoSwin."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.errors import NotFiniteError
from sta.models.prunable import PrunableBackbone


class TokenGrid(NamedTuple):
    """A grid of tokens over the pixels of a clip.

    Attributes:
        size: (T, H, W) in tokens.
        cell: frames, rows and columns of pixels that a token stands for.
    """

    size: tuple[int, int, int]
    cell: tuple[int, int, int]


class StageTokens(NamedTuple):
    """The tokens that enter and leave a pruning stage.

    Attributes:
        grid: that they have places in.
        entered: (B, L) int64 places in the flattened grid; None where all of it is there.
        left: (B, L') int64 places of those that were kept.
    """

    grid: TokenGrid
    entered: Tensor | None
    left: Tensor


class BlockTokens(NamedTuple):
    """The tokens that enter a block.

    Attributes:
        grid: that they have places in.
        positions: (B, L) int64 places in the flattened grid; None where all of it is there.
    """

    grid: TokenGrid
    positions: Tensor | None


def token_grid(backbone: PrunableBackbone, clip_shape: Sequence[int], level: int = 0) -> TokenGrid:
    """The grid of a clip after some patch mergings.

    Args:
        backbone: a ViT merges nothing.
        clip_shape: (3, frames, H, W) of the clip in pixels.
        level: patch mergings passed.
    """
    channels, length, height, width = clip_shape
    frames, rows, columns = backbone.token_grid((channels, length, height, width))
    cell, merged = backbone.cell, 2**level
    return TokenGrid(
        (frames, ceil(rows / merged), ceil(columns / merged)),
        (cell[0], cell[1] * merged, cell[2] * merged),
    )


def tokens_of_stages(
    backbone: PrunableBackbone, kept_per_stage: Sequence[Tensor], clip_shape: Sequence[int]
) -> list[StageTokens]:
    """Where the tokens of every pruning stage stand, from the kept indices of a forward pass.

    Args:
        backbone: that was run.
        kept_per_stage: as returned by the backbone with ``return_kept=True``.
        clip_shape: (3, frames, H, W) of the clip in pixels.
    """
    levels = [level for level, _ in backbone.blocks_by_level()]
    found: list[StageTokens] = []
    for stage, kept in zip(backbone.schedule.stages, kept_per_stage, strict=True):
        # A stage sees the tokens of the next block.
        level = levels[min(stage.after_block + 1, len(levels) - 1)]
        grid, entered = token_grid(backbone, clip_shape, level), None
        # Every merging fills its grid, and the indices of the next stage count from all of it.
        if found and found[-1].grid == grid:
            entered = found[-1].left
        left = kept if entered is None else entered.gather(1, kept)
        found.append(StageTokens(grid, entered, left))
    return found


def tokens_of_blocks(
    backbone: PrunableBackbone, kept_per_stage: Sequence[Tensor], clip_shape: Sequence[int]
) -> list[BlockTokens]:
    """Where the tokens of every block stand, in the order of the blocks.

    Args:
        backbone, kept_per_stage, clip_shape: as in :func:`tokens_of_stages`.
    """
    stages = tokens_of_stages(backbone, kept_per_stage, clip_shape)
    ends = [stage.after_block for stage in backbone.schedule.stages]
    found = []
    for index, (level, _) in enumerate(backbone.blocks_by_level()):
        grid, positions = token_grid(backbone, clip_shape, level), None
        for end, stage in zip(ends, stages, strict=True):
            if end < index and stage.grid == grid:
                positions = stage.left
        found.append(BlockTokens(grid, positions))
    return found


def trajectory_sum(keys: Tensor, frames: Tensor, num_frames: int) -> Tensor:
    """Sum over earlier frames of the best cosine similarity, averaged over the last frame's tokens.

    Args:
        keys: (B, L, D), need not be normalised.
        frames: (B, L) int64, frame of each token, 0 to ``num_frames`` - 1.
        num_frames: frames T of the grid.

    Returns:
        (B,) float32, at most T - 1: every token of the last frame has its like in every earlier
        one. A frame without tokens adds 0, there is nothing to be like; where the last frame
        itself has lost all tokens the answer is NaN.

    Raises:
        NotFiniteError: keys are NaN or infinite.

    Source: Eq. 6.
    """
    if not keys.isfinite().all():
        raise NotFiniteError('keys of a trajectory sum are not finite (NaN or infinity)')
    unit = F.normalize(keys.float(), dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    is_last = frames == num_frames - 1
    total = torch.zeros_like(unit[..., 0])
    for frame in range(num_frames - 1):
        others = (frames != frame).unsqueeze(1)
        best = similarity.masked_fill(others, -torch.inf).amax(-1)
        total += best.masked_fill(best.isinf(), 0.0)
    return (total * is_last).sum(-1) / is_last.sum(-1)


@torch.no_grad()
def trajectory_sum_of(backbone: PrunableBackbone, clips: Tensor, *, block: int = -1) -> Tensor:
    """Trajectory sum of the tokens that a backbone has left, in the variant it has.

    The keys are those that pruning compares: of one block, averaged over heads. By default of the
    last block: it lies behind all pruning stages, so every token there has survived them, and it
    is the same block whatever is pruned, so that variants can be compared.

    Args:
        backbone: in evaluation mode.
        clips: (B, 3, frames, H, W), preprocessed.
        block: which block's keys, 0-based, from the end where negative.

    Returns:
        (B,) float32, see :func:`trajectory_sum`; frames are those of the token grid.

    Raises:
        ValueError: the pruner merges: merged tokens belong to no frame.
    """
    if backbone.pruner.at_input:
        raise ValueError(f'{type(backbone.pruner).__name__} drops at the input, not in stages')
    if backbone.schedule.active and backbone.pruner.merges:
        raise ValueError(f'{type(backbone.pruner).__name__} merges: its tokens have no frame')
    _, module = backbone.blocks_by_level()[block]
    seen: list[Tensor] = []

    def watch(called: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        bound = inspect.signature(called.forward).bind(*arguments, **named)
        bound.arguments['similarity'] = 'key'
        # forward, not a call: that would come by here again.
        seen.append(called.forward(*bound.args, **bound.kwargs)[1])

    handle = module.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        _, kept = backbone(clips, return_kept=True)
    finally:
        handle.remove()
    grid, positions = tokens_of_blocks(backbone, kept, clips.shape[1:])[block]
    keys, (frames, rows, columns) = seen[0], grid.size
    if positions is None:
        positions = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape[:2])
    return trajectory_sum(keys, positions // (rows * columns), frames)
