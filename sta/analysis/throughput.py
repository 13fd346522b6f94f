"""How fast models run side by side: interleaved rounds, medians, and the share spent on pruning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sta.pruning import WatchedPruner

from .clock import clock_of


@dataclass(frozen=True)
class Timing:
    """Seconds per forward pass of one contestant, one number per round.

    Attributes:
        name: the contestant.
        batch_size: clips in one forward.
        seconds: (rounds,) float64.
        pruning_share: share of the time spent in pruning stages, 0 to 1; None if not measured.
    """

    name: str
    batch_size: int
    seconds: np.ndarray
    pruning_share: float | None = None

    @property
    def median_s(self) -> float:
        """Median seconds per forward."""
        return float(np.median(self.seconds))

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """First and third quartile of the seconds per forward."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(low), float(high)

    @property
    def clips_per_s(self) -> float:
        """Clips per second at the median."""
        return self.batch_size / self.median_s


def time_interleaved(
    contestants: Mapping[str, Callable[[], Any]],
    *,
    batch_size: int,
    rounds: int,
    warm_up: int,
    is_cuda: bool,
) -> list[Timing]:
    """Time contestants in turn, A B A B, so that a drifting machine slows all of them alike.

    On a GPU the host never waits between forwards; see :class:`sta.analysis.clock.CudaClock`.

    Args:
        contestants: what to run, by name; each call is one forward pass.
        batch_size: clips in one forward.
        rounds: timed forwards of each.
        warm_up: forwards of each beforehand, not counted.
        is_cuda: whether the forwards run on a GPU.
    """
    for run in contestants.values():
        for _ in range(warm_up):
            run()
    clock = clock_of(is_cuda)
    spans: dict[str, list[tuple[Any, Any]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = clock.mark()
            run()
            spans[name].append((start, clock.mark()))
    return [Timing(name, batch_size, clock.seconds(marks)) for name, marks in spans.items()]


def pruning_share(backbone: Any, run: Callable[[], Any], *, rounds: int, is_cuda: bool) -> float:
    """Share of a forward pass that its pruning stages take, 0 to 1.

    Args:
        backbone: with the variant set that is to be measured.
        run: one forward pass.
        rounds: forwards to average over.
        is_cuda: whether they run on a GPU.
    """
    original, clock = backbone.pruner, clock_of(is_cuda)
    spans: list[tuple[Any, Any]] = []

    @contextmanager
    def timed() -> Iterator[None]:
        begin = clock.mark()
        yield
        spans.append((begin, clock.mark()))

    backbone.pruner = WatchedPruner(original, around=timed)
    try:
        start = clock.mark()
        for _ in range(rounds):
            run()
        [whole] = clock.seconds([(start, clock.mark())])
        return float(clock.seconds(spans).sum() / whole)
    finally:
        backbone.pruner = original
