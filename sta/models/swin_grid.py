"""Tokens on a grid of which pruning may have left a part: filling, merging, pooling."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sta.pruning import select_tokens

from .windows import Size


class Grid(NamedTuple):
    """Tokens of a batch on a grid (T, H, W), all of it or what pruning left.

    Attributes:
        tokens: (B, L, C).
        size: (T, H, W).
        kept: (B, L) int64 position of each token, or None where all of the grid is there.
        sources: (B, T*H*W) int64 token that each position shows, or None.
    """

    tokens: Tensor
    size: Size
    kept: Tensor | None = None
    sources: Tensor | None = None

    def filled(self, values: Tensor) -> Tensor:
        """Spread one vector per token (B, L, D) over the grid: (B, T*H*W, D)."""
        return values if self.sources is None else select_tokens(values, self.sources)


def merge(grid: Grid, merging: nn.Module) -> Grid:
    """Fill the grid and merge 2 x 2 neighbours of each frame."""
    frames, rows, _ = grid.size
    filled = grid.filled(grid.tokens)
    merged = merging(rearrange(filled, 'b (t h w) c -> b t h w c', t=frames, h=rows))
    return Grid(merged.flatten(1, 3), tuple(merged.shape[1:4]))


def mean_of_merged(grid: Grid, features: Tensor) -> Tensor:
    """Mean of the (up to 2 x 2) positions that became one token: (B, L, D) to (B, T*h*w, D)."""
    frames, rows, columns = grid.size
    maps = rearrange(
        grid.filled(features), 'b (t h w) d -> (b t) d h w', t=frames, h=rows, w=columns
    )
    maps = F.avg_pool2d(maps.float(), 2, ceil_mode=True, count_include_pad=False)
    return rearrange(maps, '(b t) d h w -> b (t h w) d', t=frames)


def feature_map(grid: Grid, norm: nn.Module) -> Tensor:
    """(B, C, T, H, W), or (B, C, T, K, 1) of a pruned grid."""
    tokens = norm(grid.tokens)
    if grid.kept is not None:
        return rearrange(tokens, 'b (t k) c -> b c t k 1', t=grid.size[0]).contiguous()
    _, rows, columns = grid.size
    return rearrange(tokens, 'b (t h w) c -> b c t h w', h=rows, w=columns).contiguous()


def positions_in_frame(grid: Grid) -> Tensor:
    """(B, T*H*W) row * W + column of every token of a full grid."""
    frames, rows, columns = grid.size
    place = torch.arange(rows * columns, device=grid.tokens.device)
    return place.repeat(frames).expand(grid.tokens.shape[0], -1)


def all_positions(grid: Grid) -> Tensor:
    """(B, L) int64 place of every token."""
    batch, length = grid.tokens.shape[:2]
    return torch.arange(length, device=grid.tokens.device).repeat(batch, 1)
