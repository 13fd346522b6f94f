"""What every pruner checks, and the precision they all compute in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from .schedule import ScheduleError

SIMILARITIES = ('query', 'key', 'value', 'ffn')


def full_precision(device_type: str) -> AbstractContextManager:
    """Switch autocast off; devices without autocast (meta) need nothing."""
    if device_type == 'meta':
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def tokens_per_chunk(length: int, num_chunks: int, num_drop: int) -> int:
    """N of a clip of ``length`` tokens.

    Raises:
        ScheduleError: uneven chunks, or a drop that is negative or not below N.
    """
    if num_chunks < 1 or length % num_chunks:
        raise ScheduleError(f'{length} tokens cannot be split evenly into {num_chunks} chunks')
    per_chunk = length // num_chunks
    if not 0 <= num_drop < per_chunk:
        raise ScheduleError(
            f'num_drop must be between 0 and {per_chunk - 1} ({per_chunk} tokens per chunk), '
            f'got {num_drop}'
        )
    return per_chunk


def check_choice(value: str, known: tuple[str, ...], name: str) -> None:
    """Raise ValueError naming the known values when ``value`` is none of them."""
    if value not in known:
        raise ValueError(f'{name} must be one of {list(known)}, got {value!r}')


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed that is no whole number of at least 0."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f'seed must be a whole number of at least 0, got {seed!r}')
