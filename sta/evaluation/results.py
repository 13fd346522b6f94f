"""What an evaluation found: per-video scores of every variant, and what each one costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sta.pruning import Variant

from .statistics import all_finite


@dataclass(frozen=True)
class Cost:
    """What one variant costs; known before any data is read, unless it is an average.

    Attributes:
        num_tokens: tokens per clip that reach the head when none is dropped.
        tokens_after_stages: tokens per clip left after each pruning stage; empty when none prunes.
        gflops_per_view: 1e9 multiply-accumulates of backbone and head for one view.
        num_parameters: parameters of the whole model.
        is_average: whether tokens and GFLOPs depend on the clips and are means over those seen.
    """

    num_tokens: int
    tokens_after_stages: tuple[int, ...]
    gflops_per_view: float
    num_parameters: int
    is_average: bool = False

    @property
    def tokens_kept(self) -> int:
        """Tokens per clip that reach the head."""
        return self.tokens_after_stages[-1] if self.tokens_after_stages else self.num_tokens

    @property
    def drops_nothing(self) -> bool:
        """Whether this is the cost of no pruning."""
        return self.tokens_kept == self.num_tokens and not self.is_average


@dataclass(frozen=True)
class VariantResult:
    """One variant on one data set.

    Attributes:
        variant: pruner and schedule.
        cost: what it costs.
        scores: (videos, classes) float32, softmax averaged over a video's views; NaN where they are
            not finite and count as wrong.
        clips_per_s: views per second of the model alone, decoding apart; per process.
    """

    variant: Variant
    cost: Cost
    scores: np.ndarray
    clips_per_s: float

    @property
    def not_finite(self) -> np.ndarray:
        """Whose scores are not finite and count as wrong, (videos,) bool."""
        return ~all_finite(self.scores)


class LeftOut(NamedTuple):
    """A video of the list that could not be evaluated.

    Attributes:
        name: its path.
        label: class.
        reason: why, in words.
    """

    name: str
    label: int
    reason: str


class NotFinite(NamedTuple):
    """A video whose scores are NaN or infinite under some variants, for which it counts as wrong.

    Attributes:
        name: its path.
        label: class.
        variants: names of those.
    """

    name: str
    label: int
    variants: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationResult:
    """All variants on one data set, in the order they were asked for.

    Attributes:
        variants: one result each.
        labels: (videos,) int64, of the evaluated videos.
        names: file name of each of them.
        views: views per video (temporal clips x spatial crops).
        hardware: what it ran on, in words.
        precision: 'fp32', 'bf16' or 'fp16'.
        wall_s: seconds the pass over the data took.
        wait_share: share of ``wall_s`` spent waiting for decoded videos.
        left_out: videos of the list that could not be decoded.
        decoded_by: number of evaluated videos by decoder.
        class_list: where the names of the classes stand, see read_class_names; None if nowhere.
        resumed: videos that an earlier session had finished; ``wall_s`` is of the others.
        part: what part of the list, or of a sweep, this is, in words; '' for all of it.
        unpruned_gflops: what one view costs without pruning, counted whether or not that was
            evaluated; None where nobody counted.
    """

    variants: tuple[VariantResult, ...]
    labels: np.ndarray
    names: tuple[str, ...]
    views: int
    hardware: str
    precision: str
    wall_s: float
    wait_share: float
    left_out: tuple[LeftOut, ...] = ()
    decoded_by: Mapping[str, int] = field(default_factory=dict)
    class_list: str | None = None
    resumed: int = 0
    part: str = ''
    unpruned_gflops: float | None = None

    @property
    def num_listed(self) -> int:
        """Videos of the list, evaluated or not."""
        return len(self.labels) + len(self.left_out)

    @property
    def not_finite(self) -> tuple[NotFinite, ...]:
        """Videos whose scores are not finite under any variant, in the order of the list."""
        failed = np.stack([found.not_finite for found in self.variants])
        return tuple(
            NotFinite(
                self.names[place],
                int(self.labels[place]),
                tuple(v.variant.name for v, wrong in zip(self.variants, failed[:, place]) if wrong),
            )
            for place in np.flatnonzero(failed.any(0))
        )
