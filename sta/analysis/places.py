"""Which place of which grid every token of every block has, in ViT and in VideoSwin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, NamedTuple

from torch import Tensor, nn

from sta.models import STASwinTransformer3D


class TokenGrid(NamedTuple):
    """A grid of tokens over the pixels of a clip.

    Attributes:
        size: (T, H, W) in tokens.
        cell: frames, rows and columns of pixels that a token stands for.
    """

    size: tuple[int, int, int]
    cell: tuple[int, int, int]


class BlockTokens(NamedTuple):
    """The tokens that enter a block.

    Attributes:
        block: the module.
        grid: that they have places in.
        positions: (B, L) int64 places in the flattened grid; None where all of it is there.
    """

    block: nn.Module
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


def stage_grids(backbone: Any, clip_shape: Sequence[int]) -> list[TokenGrid]:
    """The grid each pruning stage of the present schedule drops from."""
    levels = [0] * len(backbone.schedule.stages)
    if isinstance(backbone, STASwinTransformer3D):
        levels = [
            backbone.merged_blocks.index(stage.after_block) + 1
            for stage in backbone.schedule.stages
        ]
    return [token_grid(backbone, clip_shape, level) for level in levels]


def tokens_of_blocks(
    backbone: Any, kept_per_stage: Sequence[Tensor], clip_shape: Sequence[int]
) -> list[BlockTokens]:
    """Where the tokens of every block stand, from the kept indices of a forward pass.

    Args:
        backbone: as in :func:`token_grid`.
        kept_per_stage: as returned by the backbone with ``return_kept=True``.
        clip_shape: (3, frames, H, W) of the clip in pixels.

    Returns:
        One entry per block, in their order.
    """
    kept_after = {
        stage.after_block: kept
        for stage, kept in zip(backbone.schedule.stages, kept_per_stage, strict=True)
    }
    found, positions, last_level = [], None, 0
    for index, (level, block) in enumerate(blocks_of(backbone)):
        if level != last_level:
            # Patch merging fills the grid; its stage's indices then count from all of it.
            positions, last_level = None, level
        if index - 1 in kept_after:
            kept = kept_after[index - 1]
            positions = kept if positions is None else positions.gather(1, kept)
        found.append(BlockTokens(block, token_grid(backbone, clip_shape, level), positions))
    return found


def blocks_of(backbone: Any) -> Iterator[tuple[int, nn.Module]]:
    """Every transformer block in order, with the number of patch mergings before it."""
    if isinstance(backbone, STASwinTransformer3D):
        for level, layer in enumerate(backbone.layers):
            yield from ((level, block) for block in layer.blocks)
    else:
        yield from ((0, block) for block in backbone.blocks)
