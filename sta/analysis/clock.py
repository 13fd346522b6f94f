"""Two clocks with one face: that of this process, and that of the GPU's own stream of work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch


class Clock(Protocol):
    """Marks points in time and says, afterwards, how far apart they were."""

    def mark(self) -> Any:
        """A point in time."""

    def seconds(self, spans: Sequence[tuple[Any, Any]]) -> np.ndarray:
        """Length of each span between two marks, (spans,) float64."""


class ProcessClock:
    """Wall-clock time of this process."""

    def mark(self) -> float:
        """Now."""
        return time.perf_counter()

    def seconds(self, spans: Sequence[tuple[float, float]]) -> np.ndarray:
        """Length of each span."""
        return np.array([end - start for start, end in spans], dtype=np.float64)


class CudaClock:
    """Time on the current GPU's stream, without waiting for it between marks.

    A mark is an event in the queue of work, so the host goes on launching: waiting for the GPU
    around every forward would add the launching of its first kernels to each. What the GPU spends
    idle because the host is too slow counts, as it does in earnest.
    """

    def mark(self) -> torch.cuda.Event:
        """An event behind all work launched so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, spans: Sequence[tuple[torch.cuda.Event, torch.cuda.Event]]) -> np.ndarray:
        """Length of each span; waits for the GPU once."""
        torch.cuda.synchronize()
        return np.array([start.elapsed_time(end) / 1e3 for start, end in spans], dtype=np.float64)


def clock_of(is_cuda: bool) -> Clock:
    """The clock for forwards on a GPU or on a CPU."""
    return CudaClock() if is_cuda else ProcessClock()
