"""Random numbers as a pure function of (seed, clip, stage, position).

A generator would carry state from clip to clip: results would depend on the batch a clip happens to
share and on the device. A counter-based integer hash has neither problem, needs no host
synchronisation, and gives every clip its own draw.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
# Odd 31-bit multipliers: a 32-bit value times one of them stays below 2**63, so int64 never
# overflows (overflow is undefined in C++ and differs in compiled code).
_MULTIPLIERS = (0x7FEB352D, 0x68E31DA5, 0x3C6EF373)
_COLUMNS = 1021  # a prime, so that columns mix rows, frames and channels


def hash_uniform(seed: int, clip_ids: Tensor, stage: int, counter: Tensor) -> Tensor:
    """32-bit pseudo-random integers, one per (clip, counter).

    Args:
        seed: experiment seed.
        clip_ids: (B,) int64, one number per clip, see :func:`clip_fingerprint`.
        stage: index of the pruning stage.
        counter: (B, ...) or (1, ...) int64, what is drawn for, e.g. token positions.

    Returns:
        int64 in [0, 2**32), shape of ``counter`` broadcast over B.
    """
    clip = clip_ids.reshape(-1, *([1] * (counter.dim() - 1)))
    state = _mix((clip ^ (clip >> 32)) & _MASK)
    state = _mix((state + ((seed * 0x9E3779B1 + stage * 0x85EBCA77 + 1) & _MASK)) & _MASK)
    return _mix(state ^ _mix(counter & _MASK))


def clip_fingerprint(clip: Tensor) -> Tensor:
    """One int64 per clip, from its pixels: equal clips agree whatever batch they come in.

    Args:
        clip: (B, ...) floating point pixels.

    Returns:
        (B,) int64. A sum of integers, hence exact and independent of the order of summation.
    """
    bits = clip.detach().float().flatten(1).contiguous().view(torch.int32)
    whole = bits.shape[1] // _COLUMNS * _COLUMNS
    # Column sums first: widening every pixel to int64 would double the memory of the batch.
    columns = bits[:, :whole].unflatten(1, (-1, _COLUMNS)).sum(1, dtype=torch.int64)
    weights = torch.arange(1, _COLUMNS + 1, device=bits.device)
    return (columns * weights).sum(1) + bits[:, whole:].sum(1, dtype=torch.int64)


def _mix(x: Tensor) -> Tensor:
    """Finaliser on 32-bit values held in int64 (xor-shift, multiply)."""
    for multiplier in _MULTIPLIERS:
        x = x ^ (x >> 16)
        x = (x * multiplier) & _MASK
    return x ^ (x >> 15)
