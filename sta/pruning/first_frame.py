"""How the first chunk, which has no past, loses its tokens: an image pruner (STA, section 3.3)."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from .randomness import hash_uniform


def tome_order(keys: Tensor) -> Tensor:
    """Candidate order of ToMe-drop: odd positions first, then even ones, least replaceable first.

    A token at an even position is the more replaceable, the more it resembles some odd one.

    Args:
        keys: (B, N, D) float32, L2-normalised.

    Returns:
        (B, N) int64, a permutation; the first N - r entries are kept. When r exceeds the number of
        even positions this cuts trailing odd ones, as the released code does.
    """
    even, odd = _split(keys)
    odd_places = torch.arange(1, keys.shape[1], 2, device=keys.device).expand(keys.shape[0], -1)
    if not odd.shape[1]:
        return torch.zeros(keys.shape[:2], dtype=torch.int64, device=keys.device)
    best = (even @ odd.transpose(-1, -2)).amax(-1)
    return torch.cat([odd_places, best.argsort(dim=-1, stable=True) * 2], dim=1)


def tome_rounds_order(keys: Tensor, num_drop: int) -> Tensor:
    """Candidate order of ToMe-drop in rounds: even positions go, then even ones of the rest, ...

    Equal to :func:`tome_order` while r is at most the number of even positions.

    Args:
        keys: (B, N, D) float32, L2-normalised.
        num_drop: r < N.

    Returns:
        (B, N) int64, a permutation; the first N - r entries are kept.
    """
    order = tome_order(keys)
    num_even = (keys.shape[1] + 1) // 2
    if num_drop <= num_even:
        return order
    num_odd = keys.shape[1] - num_even
    odd, rest = order[:, :num_odd], order[:, num_odd:]
    inner = tome_rounds_order(keys[:, 1::2], num_drop - num_even)
    return torch.cat([odd.gather(1, inner), rest], dim=1)


def random_order(seed: int, clip_ids: Tensor, stage: int, num_tokens: int) -> Tensor:
    """A random candidate order, with the kept tokens in no particular order.

    Args:
        seed: experiment seed.
        clip_ids: (B,) int64.
        stage: index of the pruning stage.
        num_tokens: N.

    Returns:
        (B, N) int64.
    """
    counter = torch.arange(num_tokens, device=clip_ids.device).unsqueeze(0)
    return hash_uniform(seed, clip_ids, stage, counter).argsort(dim=-1, stable=True)


def grid_order(
    seed: int,
    clip_ids: Tensor,
    stage: int,
    positions: Tensor,
    grid_size: tuple[int, int],
    num_drop: int,
) -> Tensor:
    """Candidate order that drops one random token in each of sqrt(r) x sqrt(r) cells of the frame.

    A cell that earlier stages emptied has none to give: its share falls on random other tokens.

    Args:
        seed: experiment seed.
        clip_ids: (B,) int64.
        stage: index of the pruning stage.
        positions: (B, N) int64, row * W + column of each token.
        grid_size: (H, W) of one frame.
        num_drop: r, a square number.

    Returns:
        (B, N) int64; the first N - r entries are kept.

    Raises:
        ValueError: r is not a square number.
    """
    side = square_root(num_drop)
    height, width = grid_size
    row, column = positions // width, positions % width
    cell = (row * side // height) * side + column * side // width
    counter = torch.arange(positions.shape[1], device=positions.device).unsqueeze(0)
    draw = hash_uniform(seed, clip_ids, stage, counter)
    # A token is its cell's pick when nothing of the same cell drew less (earlier on a tie).
    same_cell = cell.unsqueeze(2) == cell.unsqueeze(1)
    less = draw.unsqueeze(1) < draw.unsqueeze(2)
    tie = (draw.unsqueeze(1) == draw.unsqueeze(2)) & (counter.unsqueeze(1) < counter.unsqueeze(2))
    picked = ~(same_cell & (less | tie)).any(-1)
    return (draw + picked.to(torch.int64) * 2**32).argsort(dim=-1, stable=True)


def square_root(num_drop: int) -> int:
    """The side of a square number of cells.

    Raises:
        ValueError: naming the nearest square numbers.
    """
    side = math.isqrt(num_drop)
    if side * side != num_drop:
        raise ValueError(
            f"first_frame='grid' drops one token per cell of a square grid: num_drop must be a "
            f'square number, got {num_drop}; the nearest are {side**2} and {(side + 1) ** 2}'
        )
    return side


def _split(keys: Tensor) -> tuple[Tensor, Tensor]:
    if keys.shape[1] % 2 == 0:
        even, odd = rearrange(keys, 'b (n s) d -> s b n d', s=2)
        return even, odd
    return keys[:, ::2], keys[:, 1::2]
