"""What was taken for what, and which mistakes became more frequent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .accuracy import all_finite

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
