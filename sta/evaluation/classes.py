"""Which classes gain and lose when one variant takes the place of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy  # whose parts are imported when first used

from .confusion import confusion_matrix, predicted_classes
from .paired import mcnemar_p

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
