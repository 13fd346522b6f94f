"""Which place of which grid every token of every block has, in ViT and in VideoSwin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

from torch import Tensor, nn

from sta.models import STASwinTransformer3D
from sta.pruning import origins


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


def token_grid(backbone: Any, clip_shape: Sequence[int], level: int = 0) -> TokenGrid:
    """The grid of a clip after some patch mergings.

    Args:
        backbone: STAVisionTransformer, which merges nothing, or STASwinTransformer3D.
        clip_shape: (3, frames, H, W) of the clip in pixels.
        level: patch mergings passed.
    """
    frames, rows, columns = backbone.token_grid(tuple(clip_shape))
    if isinstance(backbone, STASwinTransformer3D):
        patch = backbone.patch_size
    else:
        patch = (backbone.tubelet_size, backbone.patch_size, backbone.patch_size)
    merged = 2**level
    return TokenGrid(
        (frames, ceil(rows / merged), ceil(columns / merged)),
        (patch[0], patch[1] * merged, patch[2] * merged),
    )


def tokens_of_stages(
    backbone: Any, kept_per_stage: Sequence[Tensor], clip_shape: Sequence[int]
) -> list[StageTokens]:
    """Where the tokens of every pruning stage stand, from the kept indices of a forward pass.

    Args:
        backbone: as in :func:`token_grid`.
        kept_per_stage: as returned by the backbone with ``return_kept=True``.
        clip_shape: (3, frames, H, W) of the clip in pixels.
    """
    if isinstance(backbone, STASwinTransformer3D):
        # Every merging fills its grid, and the next stage's indices count from all of it.
        levels = [
            backbone.merged_blocks.index(stage.after_block) + 1
            for stage in backbone.schedule.stages
        ]
        return [
            StageTokens(token_grid(backbone, clip_shape, level), None, kept)
            for level, kept in zip(levels, kept_per_stage, strict=True)
        ]
    grid = token_grid(backbone, clip_shape)
    places = [None, *origins(kept_per_stage)]
    return [StageTokens(grid, *pair) for pair in pairwise(places)]


def tokens_of_blocks(
    backbone: Any, kept_per_stage: Sequence[Tensor], clip_shape: Sequence[int]
) -> list[BlockTokens]:
    """Where the tokens of every block stand, in the order of the blocks.

    Args:
        backbone, kept_per_stage, clip_shape: as in :func:`tokens_of_stages`.
    """
    stages = tokens_of_stages(backbone, kept_per_stage, clip_shape)
    ends = [stage.after_block for stage in backbone.schedule.stages]
    found = []
    for index, (level, _) in enumerate(blocks_of(backbone)):
        grid, positions = token_grid(backbone, clip_shape, level), None
        for end, stage in zip(ends, stages, strict=True):
            if end < index and stage.grid == grid:
                positions = stage.left
        found.append(BlockTokens(grid, positions))
    return found


def blocks_of(backbone: Any) -> Iterator[tuple[int, nn.Module]]:
    """Every transformer block in order, with the number of patch mergings before it."""
    if isinstance(backbone, STASwinTransformer3D):
        for level, layer in enumerate(backbone.layers):
            yield from ((level, block) for block in layer.blocks)
    else:
        yield from ((0, block) for block in backbone.blocks)
