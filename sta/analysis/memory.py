"""How much memory a forward pass takes at most, beyond what was there before it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STATUS, _RESET = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def peak_mb(run: Callable[[], Any], *, is_cuda: bool) -> float | None:
    """Peak memory of one call in MB (10^6 bytes), weights and inputs that exist before not counted.

    On a GPU what torch's allocator handed out; on a CPU what the kernel says of the whole process,
    to some MB.

    Args:
        run: one forward pass.
        is_cuda: whether it runs on a GPU.

    Returns:
        None where the system does not say (it takes Linux' clear_refs).
    """
    if is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    try:
        _give_back()
        _RESET.write_text('5')  # sets the highest resident size back to the present one
        before = _status_kb('VmRSS')
        run()
        return max(_status_kb('VmHWM') - before, 0) * 1024 / 1e6
    except (OSError, StopIteration):
        return None


def _status_kb(key: str) -> int:
    lines = _STATUS.read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{key}:'))


def _give_back() -> None:
    """Return freed memory to the system, else the next pass takes it unseen."""
    try:
        ctypes.CDLL('libc.so.6').malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
