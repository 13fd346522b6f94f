"""How fast models run side by side: interleaved rounds, medians, and the share spent on pruning."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sta.pruning import Pruned, PruningStage, StageContext


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


class WrappedPruner:
    """A pruner that answers like another one; subclasses watch its calls.

    Args:
        pruner: the one that does the work.
    """

    def __init__(self, pruner: Any) -> None:
        self._pruner = pruner
        self.similarity = pruner.similarity
        self.draws = pruner.draws
        self.merges = pruner.merges
        self.per_chunk = pruner.per_chunk
        self.check = pruner.check

    def __call__(
        self, tokens: Tensor, features: Tensor | None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage."""
        return self._pruner(tokens, features, stage, context)


class TimedPruner(WrappedPruner):
    """A pruner that adds up the time its stages take.

    Args:
        pruner: the one that does the work.
        is_cuda: whether to wait for the GPU before and after a stage.
    """

    def __init__(self, pruner: Any, *, is_cuda: bool) -> None:
        super().__init__(pruner)
        self._is_cuda = is_cuda
        self.seconds = 0.0

    def __call__(
        self, tokens: Tensor, features: Tensor | None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage and add its time."""
        start = _now(self._is_cuda)
        pruned = super().__call__(tokens, features, stage, context)
        self.seconds += _now(self._is_cuda) - start
        return pruned


def time_interleaved(
    contestants: Mapping[str, Callable[[], Any]],
    *,
    batch_size: int,
    rounds: int,
    warm_up: int,
    is_cuda: bool,
) -> list[Timing]:
    """Time contestants in turn, A B A B, so that a drifting machine slows all of them alike.

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
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = _now(is_cuda)
            run()
            seconds[name].append(_now(is_cuda) - start)
    return [Timing(name, batch_size, np.array(values)) for name, values in seconds.items()]


def pruning_share(backbone: Any, run: Callable[[], Any], *, rounds: int, is_cuda: bool) -> float:
    """Share of a forward pass that its pruning stages take, 0 to 1.

    Args:
        backbone: with the variant set that is to be measured.
        run: one forward pass.
        rounds: forwards to average over.
        is_cuda: whether they run on a GPU; waiting for it around each stage makes the share an
            upper bound there.
    """
    original = backbone.pruner
    timed = TimedPruner(original, is_cuda=is_cuda)
    backbone.pruner = timed
    try:
        start = _now(is_cuda)
        for _ in range(rounds):
            run()
        return timed.seconds / (_now(is_cuda) - start)
    finally:
        backbone.pruner = original


def _now(is_cuda: bool) -> float:
    if is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
