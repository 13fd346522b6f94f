"""How sure a change in accuracy is, when both variants saw the same videos.

Two variants of one model agree on most videos. Only the videos on which they differ say anything
about the change, so that paired figures are several times as sharp as two separate accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy  # whose parts are imported when first used

RESAMPLES = 20_000
LEVEL = 0.95
# Of fewer the interval is the least and the greatest difference whatever they are: n of n resampled
# videos are the same one with probability n^-n, which falls below 2.5 % from four on.
FEWEST_VIDEOS = 4


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each video's label is among its k highest scores.

    Equal scores are ranked by class index, so that the answer never depends on a sort's whim. A
    video with a NaN or an infinity among its scores is wrong whatever k is.

    Args:
        scores: (videos, classes).
        labels: (videos,) int64.
        k: how many classes count; all when there are fewer.

    Returns:
        (videos,) bool.
    """
    own = scores[np.arange(len(labels)), labels][:, None]
    ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None]))
    return all_finite(scores) & (ahead.sum(1) < k)


def all_finite(scores: np.ndarray) -> np.ndarray:
    """Whether all scores of a video are numbers: neither NaN nor infinite.

    Args:
        scores: (..., classes).

    Returns:
        (...) bool.
    """
    return np.isfinite(scores).all(-1)


def standard_error(percent: np.ndarray | float, num_videos: int) -> np.ndarray:
    """Binomial standard error of one accuracy, all in per cent: the chance in drawing the videos.

    It is 0 where all or none are right, which few videos do not show, and means nothing of fewer
    than FEWEST_VIDEOS: see :func:`sta.report.folder.unpaired`.

    Args:
        percent: accuracies.
        num_videos: behind each of them.
    """
    share = np.asarray(percent, dtype=float) / 100.0
    return 100.0 * np.sqrt(share * (1.0 - share) / num_videos)


class PairedChange(NamedTuple):
    """Change in accuracy on the same videos, in points.

    Attributes:
        points: mean change.
        low: lower end of the 95 % bootstrap interval; None for fewer than FEWEST_VIDEOS.
        high: upper end; None likewise.
        p_value: exact McNemar test, two-sided; None likewise, and for a mean over seeds, which it
            does not fit.
    """

    points: float
    low: float | None
    high: float | None
    p_value: float | None


def paired_change(before: np.ndarray, after: np.ndarray) -> PairedChange:
    """Change between two variants, with interval and test.

    Args:
        before: (videos,) bool, right under the first variant.
        after: (videos,) bool under the second, or (seeds, videos) under several draws of it, whose
            mean is then compared.

    Raises:
        ValueError: no videos.
    """
    draws = np.atleast_2d(after)
    differences = draws.sum(0) - len(draws) * before.astype(np.int64)
    scale = 100.0 / len(draws)
    if 0 < len(differences) < FEWEST_VIDEOS:
        return PairedChange(scale * differences.mean(), None, None, None)
    low, high = bootstrap_interval(differences)
    p_value = None
    if len(draws) == 1:
        p_value = mcnemar_p(int((differences < 0).sum()), int((differences > 0).sum()))
    return PairedChange(scale * differences.mean(), scale * low, scale * high, p_value)


def bootstrap_interval(differences: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of a mean when videos are drawn anew with replacement.

    Differences take few values, so a resample is a multinomial draw of how often each value comes:
    the same bootstrap as drawing the videos one by one, at a cost that does not grow with them.
    Where no video differs the interval is a point, which says no more than that fewer than about
    3 / n of all videos would.

    Args:
        differences: (videos,) whole numbers, e.g. 1 for a video gained and -1 for one lost.
        seed: of the draws; equal counts give equal intervals.

    Raises:
        ValueError: no videos.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if not len(differences):
        raise ValueError('an interval needs at least one video')
    values, counts = np.unique(differences, return_counts=True)
    number = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(number, counts / number, size=RESAMPLES)
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(draws @ values / number, [tail, 100.0 - tail])
    return float(low), float(high)


def mcnemar_p(lost: int, gained: int) -> float:
    """Exact two-sided McNemar test: whether videos were lost as often as gained.

    Only videos that changed sides say anything; without any there is nothing to explain, p = 1.

    Args:
        lost: videos right under the first variant alone.
        gained: videos right under the second alone.

    Source: McNemar, Psychometrika 12, 1947; exact by the binomial distribution.
    """
    changed = lost + gained
    return float(scipy.stats.binomtest(lost, changed).pvalue) if changed else 1.0


SIGNIFICANT = 0.05  # share of false alarms among the classes called changed that readers accept


@dataclass(frozen=True)
class ClassChange:
    """One class, or all of them, under two variants on the same videos.

    Attributes:
        label: class index; None for all classes together.
        name: what tables call it.
        videos: how many are of this class.
        correct_before: of these, right under the first variant (top-1).
        correct_after: right under the second.
        gained: wrong under the first, right under the second.
        lost: right under the first, wrong under the second.
        p_value: exact McNemar test, two-sided; None without videos.
        adjusted_p: the same after Benjamini and Hochberg over all classes that have videos; None
            without videos and for all classes together.
    """

    label: int | None
    name: str
    videos: int
    correct_before: int
    correct_after: int
    gained: int
    lost: int
    p_value: float | None
    adjusted_p: float | None = None

    @property
    def before_percent(self) -> float | None:
        """Top-1 under the first variant; None without videos."""
        return 100.0 * self.correct_before / self.videos if self.videos else None

    @property
    def after_percent(self) -> float | None:
        """Top-1 under the second variant; None without videos."""
        return 100.0 * self.correct_after / self.videos if self.videos else None

    @property
    def change_points(self) -> float | None:
        """Second minus first, in points of top-1; None without videos."""
        return 100.0 * (self.gained - self.lost) / self.videos if self.videos else None

    @property
    def is_significant(self) -> bool:
        """Whether the change stands out from chance among all classes that were looked at."""
        return self.adjusted_p is not None and self.adjusted_p < SIGNIFICANT


@dataclass(frozen=True)
class ClassComparison:
    """Two variants on the same videos, class by class.

    Attributes:
        before: name of the first variant.
        after: name of the second.
        changes: one for each of the C classes, by label.
        total: all classes together.
        matrix_before: (C, C) int64 confusions of the first, row = true, column = predicted.
        matrix_after: the same of the second.
        unpredicted: videos of each of the two variants whose scores are not numbers.
    """

    before: str
    after: str
    changes: tuple[ClassChange, ...]
    total: ClassChange
    matrix_before: np.ndarray
    matrix_after: np.ndarray
    unpredicted: tuple[int, int]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label."""
        return tuple(change.name for change in self.changes)


def compare_classes(
    before: np.ndarray,
    after: np.ndarray,
    labels: np.ndarray,
    *,
    variants: tuple[str, str],
    class_names: Sequence[str],
) -> ClassComparison:
    """Compare two variants class by class.

    Args:
        before: (videos, classes) scores of the first.
        after: (videos, classes) scores of the second, of the same videos.
        labels: (videos,) int64.
        variants: names of both.
        class_names: by label.
    """
    first, second = predicted_classes(before), predicted_classes(after)
    right = np.stack([first == labels, second == labels])
    changes = [
        _change(label, name, right[:, labels == label]) for label, name in enumerate(class_names)
    ]
    return ClassComparison(
        *variants,
        changes=_adjusted(changes),
        total=_change(None, 'all classes', right),
        matrix_before=confusion_matrix(first, labels, len(class_names)),
        matrix_after=confusion_matrix(second, labels, len(class_names)),
        unpredicted=(int((first < 0).sum()), int((second < 0).sum())),
    )


def top1_by_class(scores: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Top-1 of every class in per cent; None for classes without videos.

    Args:
        scores: (videos, classes).
        labels: (videos,) int64.
    """
    correct = predicted_classes(scores) == labels
    videos = np.bincount(labels, minlength=scores.shape[1])
    hits = np.bincount(labels[correct], minlength=scores.shape[1])
    return [100.0 * int(h) / int(n) if n else None for h, n in zip(hits, videos, strict=True)]


def _change(label: int | None, name: str, right: np.ndarray) -> ClassChange:
    """Count one class; ``right`` is (2, videos) bool, of the first and of the second variant."""
    before, after = right
    gained, lost = int((~before & after).sum()), int((before & ~after).sum())
    p_value = None
    if len(before):
        p_value = mcnemar_p(lost, gained)
    return ClassChange(
        label=label,
        name=name,
        videos=len(before),
        correct_before=int(before.sum()),
        correct_after=int(after.sum()),
        gained=gained,
        lost=lost,
        p_value=p_value,
    )


def _adjusted(changes: Sequence[ClassChange]) -> tuple[ClassChange, ...]:
    """Benjamini and Hochberg (1995): classes share no video, so their tests are independent."""
    tested = [change for change in changes if change.p_value is not None]
    values = iter(
        scipy.stats.false_discovery_control([change.p_value for change in tested]) if tested else ()
    )
    return tuple(
        change if change.p_value is None else replace(change, adjusted_p=float(next(values)))
        for change in changes
    )


NO_CLASS = -1  # predicted where scores are not numbers


class Confusion(NamedTuple):
    """One kind of mistake under two variants.

    Attributes:
        true: class the videos are of.
        predicted: class they were taken for, another one.
        before: how many under the first variant.
        after: how many under the second.
    """

    true: int
    predicted: int
    before: int
    after: int

    @property
    def growth(self) -> int:
        """Videos more than before; negative for fewer."""
        return self.after - self.before


def predicted_classes(scores: np.ndarray) -> np.ndarray:
    """The class with the highest score, the lower of equals, as ``top_k_correct`` ranks them.

    Args:
        scores: (videos, classes).

    Returns:
        (videos,) int64; NO_CLASS for a video with scores that are not finite.
    """
    return np.where(all_finite(scores), scores.argmax(1), NO_CLASS)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count predictions by true class.

    Args:
        predicted: (videos,) int64; videos of NO_CLASS are in no column, so their row falls short.
        labels: (videos,) int64.
        num_classes: C.

    Returns:
        (C, C) int64; row = true, column = predicted.
    """
    known = predicted != NO_CLASS
    cells = labels[known] * num_classes + predicted[known]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusions_by_growth(before: np.ndarray, after: np.ndarray) -> list[Confusion]:
    """Every mistake that was made at least once, those that grew most first.

    Of equal growth the now more frequent comes first, then the lower classes.

    Args:
        before: (C, C) confusion matrix of the first variant.
        after: (C, C) of the second.
    """
    made = (before + after > 0) & ~np.eye(len(before), dtype=bool)
    found = [
        Confusion(int(i), int(j), int(before[i, j]), int(after[i, j])) for i, j in np.argwhere(made)
    ]
    return sorted(found, key=lambda c: (-c.growth, -c.after, c.true, c.predicted))
