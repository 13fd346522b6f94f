"""Comparisons made up for the tests: from predictions, without scores of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sta.evaluation import ClassComparison, compare_classes

NAMES = ('push', 'pull|over', 'never seen', 'lift, "up"')
#          push: 2 lost, 1 gained          pull: 7 lost                 lift: 1 gained
LABELS = [0, 0, 0, 0, 0, 0, 0, 0] + [1, 1, 1, 1, 1, 1, 1, 1] + [3, 3]
BEFORE = [0, 0, 0, 0, 0, 0, 1, 1] + [1, 1, 1, 1, 1, 1, 1, 1] + [3, 0]
AFTER = [0, 0, 0, 0, 1, 3, 0, 1] + [3, 3, 3, 3, 3, 0, 0, 1] + [3, 3]


def compared(
    labels: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    names: Sequence[str],
    variants: tuple[str, str] = ('unpruned', 'sta-8'),
) -> ClassComparison:
    """From the predictions of both variants."""
    eye = np.eye(len(names), dtype=np.float32)
    first, second = eye[list(before)], eye[list(after)]
    return compare_classes(first, second, np.array(labels), variants=variants, class_names=names)


def small() -> ClassComparison:
    """Four classes, of which one has no videos."""
    return compared(LABELS, BEFORE, AFTER, NAMES)


def staircase(
    num_classes: int, names: Sequence[str] | None = None, **settings: tuple[str, str]
) -> ClassComparison:
    """Classes of 20 videos; class i loses i of ten right ones, beyond ten it gains the rest.

    What is not right is taken for the next class.
    """
    labels, before, after = [], [], []
    for label in range(num_classes):
        other, lost = (label + 1) % num_classes, min(label, 10)
        gained = min(label - lost, 10)
        labels += [label] * 20
        before += [label] * 10 + [other] * 10
        after += [other] * lost + [label] * (10 - lost + gained) + [other] * (10 - gained)
    names = names or [f'class {label}' for label in range(num_classes)]
    return compared(labels, before, after, names, **settings)
