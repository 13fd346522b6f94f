"""Changes per class against values worked by hand and a slow count, video by video."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from sta.evaluation import ClassComparison, compare_classes, top1_by_class, top_k_correct
from sta.evaluation.statistics import SIGNIFICANT

NAMES = ('push', 'pull', 'never seen', 'lift')
#                  push x 4    pull x 3 lift x 2
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 3, 3])
BEFORE = np.array([0, 0, 0, 1, 1, 1, 0, 3, 0])
AFTER = np.array([0, 1, 1, 0, 1, 1, 3, 3, 3])


def one_hot(winners: np.ndarray) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[winners]


def small() -> ClassComparison:
    scores = one_hot(BEFORE), one_hot(AFTER)
    return compare_classes(*scores, LABELS, variants=('unpruned', 'sta-8'), class_names=NAMES)


def counts(comparison: ClassComparison) -> list[tuple[int, ...]]:
    """Videos, right before, right after, gained, lost."""
    return [
        (c.videos, c.correct_before, c.correct_after, c.gained, c.lost)
        for c in (*comparison.changes, comparison.total)
    ]


def test_counts_worked_by_hand() -> None:
    assert counts(small()) == [
        (4, 3, 2, 1, 2),
        (3, 2, 2, 0, 0),
        (0, 0, 0, 0, 0),
        (2, 1, 2, 1, 0),
        (9, 6, 6, 2, 2),
    ]


def test_per_cent_and_points_worked_by_hand() -> None:
    push, pull, unseen, lift = small().changes
    assert (push.before_percent, push.after_percent, push.change_points) == (75.0, 50.0, -25.0)
    assert (pull.before_percent, pull.change_points) == (pytest.approx(200 / 3), 0.0)
    assert (lift.before_percent, lift.after_percent, lift.change_points) == (50.0, 100.0, 50.0)
    assert small().total.change_points == 0.0


def test_a_class_without_videos_is_undefined_and_not_zero() -> None:
    unseen = small().changes[2]
    figures = (unseen.before_percent, unseen.after_percent, unseen.change_points)
    assert figures == (None, None, None)
    assert (unseen.p_value, unseen.adjusted_p, unseen.is_significant) == (None, None, False)


def test_names_and_labels() -> None:
    found = small()
    assert (found.before, found.after, found.class_names) == ('unpruned', 'sta-8', NAMES)
    assert [change.label for change in found.changes] == [0, 1, 2, 3]
    assert (found.total.label, found.total.name) == (None, 'all classes')


def changed(*lost_and_gained: tuple[int, int], same: int = 2) -> ClassComparison:
    """A class for each pair, with so many videos lost and gained, and some that stay right."""
    labels, before, after = [], [], []
    for label, (lost, gained) in enumerate(lost_and_gained):
        other = (label + 1) % (len(lost_and_gained) + 1)
        labels += [label] * (lost + gained + same)
        before += [label] * lost + [other] * gained + [label] * same
        after += [other] * lost + [label] * gained + [label] * same
    eye = np.eye(len(lost_and_gained) + 1)
    names = [f'class {i}' for i in range(len(eye))]
    return compare_classes(
        eye[before], eye[after], np.array(labels), variants=('a', 'b'), class_names=names
    )


@pytest.mark.parametrize(
    'lost, gained, p_value',
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (0, 6, 2 / 64),
        (5, 1, 2 * (1 + 6) / 64),
        (3, 3, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_exact_mcnemar_worked_by_hand(lost, gained, p_value) -> None:
    assert changed((lost, gained)).changes[0].p_value == pytest.approx(p_value)
    assert changed((lost, gained), same=40).total.p_value == pytest.approx(p_value)


def test_benjamini_and_hochberg_worked_by_hand() -> None:
    """p = 2/2048, 2/64, 2/16, 1 and one class without videos: a family of four."""
    found = changed((6, 0), (11, 0), (0, 0), (0, 4))
    adjusted = [change.adjusted_p for change in found.changes]
    expected = [2 / 64 * 4 / 2, 2 / 2048 * 4 / 1, 1.0, 2 / 16 * 4 / 3]
    assert adjusted[:4] == pytest.approx(expected)
    assert adjusted[4] is None
    assert [change.is_significant for change in found.changes] == [False, True, False, False, False]
    assert found.total.adjusted_p is None


def test_the_limit_itself_is_not_below_the_limit() -> None:
    change = changed((11, 0)).changes[0]
    at_limit = type(change)(**{**vars(change), 'adjusted_p': SIGNIFICANT})
    assert change.is_significant and not at_limit.is_significant


def slow_change(before, after, labels, label: int) -> tuple[int, ...]:
    """Videos, right before, right after, gained, lost: one video at a time, from top-k accuracy."""
    right = [top_k_correct(scores, labels, 1) for scores in (before, after)]
    own = [i for i, value in enumerate(labels) if value == label]
    first, second = ([bool(r[i]) for i in own] for r in right)
    gained = sum(1 for a, b in zip(first, second) if b and not a)
    lost = sum(1 for a, b in zip(first, second) if a and not b)
    return len(own), sum(first), sum(second), gained, lost


def slow_p(lost: int, gained: int) -> float:
    """Twice the tail of a fair coin."""
    n = lost + gained
    tail = sum(comb(n, k) for k in range(min(lost, gained) + 1)) / 2**n
    return min(1.0, 2 * tail)


def slow_adjustment(p_values: list[float]) -> list[float]:
    """Equation of Benjamini and Hochberg: the least of m p(j) / j over all j not below the rank."""
    ranked = sorted(p_values)
    m = len(ranked)
    return [
        min(min(1.0, m * ranked[j - 1] / j) for j in range(1, m + 1) if ranked[j - 1] >= p)
        for p in p_values
    ]


@pytest.mark.parametrize('seed', range(5))
def test_agrees_with_a_slow_count_with_ties_and_nan(seed) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, size=400)
    shift = 3 * np.eye(6)[labels]
    before, after = (
        (random.integers(0, 4, size=(400, 6)) + shift * k).astype(np.float32) / 8 for k in (1, 0.5)
    )
    before[random.random(400) < 0.05, 2] = np.nan
    names = [f'class {i}' for i in range(6)]
    found = compare_classes(before, after, labels, variants=('a', 'b'), class_names=names)
    expected = [slow_change(before, after, labels, label) for label in range(6)]
    assert counts(found)[:6] == expected
    seen = found.changes[:5]
    p_values = [slow_p(lost, gained) for *_, gained, lost in expected[:5]]
    assert [change.p_value for change in seen] == pytest.approx(p_values)
    assert [change.adjusted_p for change in seen] == pytest.approx(slow_adjustment(p_values))
    assert found.changes[5].p_value is None
    assert found.unpredicted == (int(np.isnan(before).any(1).sum()), 0)


def test_matrices_go_with_their_variants() -> None:
    found = small()
    assert found.matrix_before[0].tolist() == [3, 1, 0, 0]
    assert found.matrix_after[0].tolist() == [2, 2, 0, 0]
    for matrix, field in ((found.matrix_before, 'before'), (found.matrix_after, 'after')):
        right = [getattr(change, f'correct_{field}') for change in found.changes]
        assert matrix.diagonal().tolist() == right


def test_a_variant_against_itself_changes_nothing() -> None:
    scores = one_hot(BEFORE)
    found = compare_classes(scores, scores, LABELS, variants=('a', 'a'), class_names=NAMES)
    assert {change.change_points for change in found.changes} == {0.0, None}
    assert {change.p_value for change in found.changes} == {1.0, None}


def test_top1_by_class_worked_by_hand() -> None:
    assert top1_by_class(one_hot(BEFORE), LABELS) == [75.0, pytest.approx(200 / 3), None, 50.0]
    assert top1_by_class(one_hot(AFTER), LABELS) == [50.0, pytest.approx(200 / 3), None, 100.0]
