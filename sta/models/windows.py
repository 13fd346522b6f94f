"""Shifted windows of VideoSwin as index maps: which grid position each slot of a window shows.

Liu et al., "Video Swin Transformer", CVPR 2022. Padding, cyclic shift and partition of the host are
one gather here, and their reversal another one.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from math import ceil, prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

Size = tuple[int, int, int]
# What the host adds to attention between tokens that the cyclic shift made neighbours.
MASKED = -100.0


class Windows(NamedTuple):
    """The windows of one grid; nW windows of N slots each.

    Attributes:
        positions: (nW, N) int64 flattened grid position of each slot, T*H*W where it is padding.
        slots: (T*H*W,) int64 window * N + slot of each grid position.
        mask: (nW, N, N) float32, 0 or -100, or None where nothing is shifted.
        runs: (first, last + 1, (N, N) mask or None): windows next to each other with one mask.
        padded: whether any slot is padding.
    """

    positions: Tensor
    slots: Tensor
    mask: Tensor | None
    runs: tuple[tuple[int, int, Tensor | None], ...]
    padded: bool


def clip_window(grid: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Window and shift on a grid: an axis no longer than its window is one window, not shifted."""
    whole = [length <= size for length, size in zip(grid, window, strict=True)]
    return (
        tuple(g if one else w for g, w, one in zip(grid, window, whole, strict=True)),
        tuple(0 if one else s for s, one in zip(shift, whole, strict=True)),
    )


def make_windows(
    grid: Size, window: Size, shift: Size, *, by_mask: bool, device: torch.device
) -> Windows:
    """Lay windows over a grid as the host does; a constant to torch.compile and torch.export.

    Args:
        grid: (T, H, W).
        window: (Wd, Wh, Ww) of the model, before clipping to the grid.
        shift: cyclic shift of the model, before clipping.
        by_mask: bring windows with equal masks together; else they are in the host's order.
        device: of the index maps.
    """
    # torch.export runs this on tensors without values, which must not get into the cache.
    with _disable_current_modes():
        return _lay_windows(grid, window, shift, by_mask, device)


# What torch.compiler.assume_constant_result does, which would import dynamo: 2 s of every start.
make_windows._dynamo_marked_constant = True


@lru_cache(maxsize=64)
def _lay_windows(
    grid: Size, window: Size, shift: Size, by_mask: bool, device: torch.device
) -> Windows:
    window, shift = clip_window(grid, window, shift)
    padding = [ceil(g / w) * w - g for g, w in zip(grid, window, strict=True)]
    index = torch.arange(prod(grid)).reshape(grid)
    index = F.pad(index, [n for p in reversed(padding) for n in (0, p)], value=prod(grid))
    index = torch.roll(index, [-s for s in shift], dims=(0, 1, 2))
    positions = _partition(index, window)
    mask, runs = None, [(0, len(positions), None)]
    if any(shift):
        # Slots of one region were neighbours before the shift.
        region = _partition(_regions(index.shape, window, shift), window)
        kinds = (region - region[:, :1]).tolist()
        if by_mask:
            order = sorted(range(len(kinds)), key=lambda i: kinds[i])
            positions, region = positions[order], region[order]
            kinds = [kinds[i] for i in order]
        mask = MASKED * (region[:, :, None] != region[:, None, :]).float()
        runs = [
            (run[0], run[-1] + 1, mask[run[0]].to(device) if mask[run[0]].any() else None)
            for run in (
                list(members) for _, members in groupby(range(len(kinds)), key=kinds.__getitem__)
            )
        ]
        mask = mask.to(device)
    flat = positions.flatten()
    slots = torch.empty(prod(grid) + 1, dtype=torch.int64).scatter(0, flat, torch.arange(len(flat)))
    return Windows(
        positions.to(device), slots[:-1].to(device), mask, tuple(runs), padded=any(padding)
    )


def _partition(index: Tensor, window: Size) -> Tensor:
    """(T, H, W) to (nW, N)."""
    d, h, w = window
    return rearrange(index, '(t d) (r h) (c w) -> (t r c) (d h w)', d=d, h=h, w=w)


def _regions(padded: torch.Size, window: Size, shift: Size) -> Tensor:
    """Number the regions that the shift joins, (T, H, W) of the padded and shifted grid."""
    numbers = torch.zeros(padded, dtype=torch.int64)
    for axis, (length, size, moved) in enumerate(zip(padded, window, shift, strict=True)):
        place = torch.arange(length)
        # An axis without shift is one region, as the whole of it is cut by slice(0, None).
        part = (
            (place >= length - size).long() + (place >= length - moved).long()
            if moved
            else place * 0
        )
        numbers = numbers * 3 + part.reshape([-1 if a == axis else 1 for a in range(3)])
    return numbers


class WindowGather(NamedTuple):
    """How the tokens of a batch get into windows and back; L tokens per clip, pads not counted.

    Attributes:
        windows: the windows.
        rows: (B*nW*N,) int64 row of each slot in the flattened tokens (B * (L + padded)), one row
            of padding behind each clip's tokens where there is padding.
        back: (B*L,) int64 slot of each token.
    """

    windows: Windows
    rows: Tensor
    back: Tensor


def gather_of(
    windows: Windows, sources: Tensor, kept: Tensor, *, windows_first: bool
) -> WindowGather:
    """Compose windows with what is left of a grid.

    Args:
        windows: nW windows of N slots.
        sources: (B, T*H*W) int64 token that each grid position shows.
        kept: (B, L) int64 grid position of each token.
        windows_first: order slots by (window, clip), so that windows with one mask lie together;
            else by (clip, window), the host's order.
    """
    batch, length = kept.shape
    num_windows, num_slots = windows.positions.shape
    clip = torch.arange(batch, device=kept.device)[:, None]
    rows = F.pad(sources, (0, 1), value=length)[:, windows.positions.flatten()]
    rows = rows + clip * (length + windows.padded)
    slots = windows.slots[kept]
    if windows_first:
        rows = rearrange(rows, 'b (w n) -> (w b n)', w=num_windows)
        window, slot = slots // num_slots, slots % num_slots
        back = (window * batch + clip) * num_slots + slot
    else:
        rows = rows.flatten()
        back = clip * num_windows * num_slots + slots
    return WindowGather(windows, rows, back.flatten())
