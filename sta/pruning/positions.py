"""Fill a pruned grid again: every dropped position takes its nearest kept token of the same frame.

Window attention and patch merging need full grids (STA on VideoSwin, section 3.3 of the paper).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor


def nearest_kept(kept: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Which kept token every position of the grid shows.

    The distance is Euclidean inside a frame; of equally near tokens the one with the smallest
    flattened index is taken. A kept position shows itself.

    Args:
        kept: (B, T*K) int64 positions in the flattened grid, frames in natural order, K of each.
        grid: (T, H, W).

    Returns:
        (B, T*H*W) int64 places in the list of kept tokens.
    """
    frames, height, width = grid
    num_positions = height * width
    batch, length = kept.shape
    in_frame = rearrange(kept % num_positions, 'b (t k) -> (b t) k', t=frames)
    # A key orders by distance first and flattened index second; this one means "nothing here".
    nothing = (height**2 + width**2) * num_positions
    keys = torch.full((in_frame.shape[0], num_positions), nothing, device=kept.device)
    keys = keys.scatter(1, in_frame, in_frame)
    # Squared distances add up over the two axes: nearest in its row first, then over the rows.
    columns, rows = _squared_distances(width, kept.device), _squared_distances(height, kept.device)
    keys = rearrange(keys, 'f (h w) -> f h 1 w', h=height) + columns * num_positions
    keys = rearrange(keys.amin(-1), 'f h w -> f 1 h w') + rows.unsqueeze(-1) * num_positions
    nearest = keys.amin(2).flatten(1) % num_positions
    place = torch.arange(length, device=kept.device).reshape(frames, -1).repeat(batch, 1)
    places = torch.zeros_like(nearest).scatter(1, in_frame, place)
    return rearrange(places.gather(1, nearest), '(b t) n -> b (t n)', b=batch)


def _squared_distances(size: int, device: torch.device) -> Tensor:
    """(size, size) int64 squared differences of the coordinates 0 to size - 1."""
    coordinate = torch.arange(size, device=device)
    return (coordinate[:, None] - coordinate) ** 2


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
