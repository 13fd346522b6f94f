"""What STA is compared with first of all: random draws, behind the same interface."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from .base import Pruned, Pruner, StageContext, check_seed, select_tokens, tokens_per_chunk
from .schedule import PruningStage


class _SeededPruner(Pruner, name=None):
    """What pruners that draw for every chunk share."""

    draws = True
    per_chunk = True

    def __init__(self, *, seed: int = 0) -> None:
        check_seed(seed)
        self.seed = seed


class RandomPruner(_SeededPruner, name='random'):
    """Keep random tokens, drawn anew for every clip, stage and chunk.

    Args:
        seed: equal seeds give equal draws, on every device and in every batch.
    """

    def __call__(
        self, tokens: Tensor, features: None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, T*N, C)."""
        counter = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        draw = hash_uniform(self.seed, context.clip_ids, context.stage_index, counter)
        return _keep_smallest(tokens, draw, stage)


class TubeRandomPruner(_SeededPruner, name='tube-random'):
    """Drop random places of the frame, the same ones in every frame (tubes).

    Every place of the frame draws one number per clip and stage; a chunk loses the places with the
    largest. When a chunk of several frames must lose a number of tokens that its frames do not
    divide, the last place goes from some of them only.

    Args:
        seed: equal seeds give equal draws, on every device and in every batch.
    """

    def __call__(
        self, tokens: Tensor, features: None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, T*N, C)."""
        draw = hash_uniform(self.seed, context.clip_ids, context.stage_index, context.positions)
        return _keep_smallest(tokens, draw, stage)


def _keep_smallest(tokens: Tensor, draw: Tensor, stage: PruningStage) -> Pruned:
    """Per chunk keep the N - r tokens with the smallest draw (B, T*N), in natural order."""
    per_chunk = tokens_per_chunk(tokens.shape[1], stage.chunks, stage.num_drop)
    draw = rearrange(draw, 'b (t n) -> b t n', t=stage.chunks)
    order = draw.argsort(dim=-1, stable=True)[..., : per_chunk - stage.num_drop]
    offset = torch.arange(stage.chunks, device=tokens.device).unsqueeze(-1) * per_chunk
    kept = rearrange(order.sort(dim=-1).values + offset, 'b t k -> b (t k)')
    return Pruned(select_tokens(tokens, kept), kept)


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
