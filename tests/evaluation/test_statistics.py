"""Accuracy, confusions and paired changes: worked by hand, and against slow counts."""

from __future__ import annotations

import random
import time
from math import comb

import numpy as np
import pytest

from sta.evaluation import (
    SIGNIFICANT,
    ClassComparison,
    Confusion,
    PairedChange,
    bootstrap_interval,
    compare_classes,
    confusions_by_growth,
    mcnemar_p,
    paired_change,
    top1_by_class,
    top_k_correct,
)
from sta.evaluation.statistics import NO_CLASS, confusion_matrix, predicted_classes

FEW_SCORES = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]], dtype=np.float32)
FEW_LABELS = np.array([1, 1, 0])
NAN, INF = float('nan'), float('inf')
NAMES = ('push', 'pull', 'never seen', 'lift')
#                  push x 4    pull x 3 lift x 2
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 3, 3])
BEFORE = np.array([0, 0, 0, 1, 1, 1, 0, 3, 0])
AFTER = np.array([0, 1, 1, 0, 1, 1, 3, 3, 3])


@pytest.mark.parametrize(
    'k, expected',
    [(1, [True, False, False]), (2, [True, False, False]), (3, [True, True, True])],
)
def test_top_k_worked_by_hand(k, expected) -> None:
    assert top_k_correct(FEW_SCORES, FEW_LABELS, k).tolist() == expected


def test_second_best_counts_from_two_on() -> None:
    found = [top_k_correct(FEW_SCORES, np.array([2, 2, 1]), k).tolist() for k in (1, 2)]
    assert found == [[False] * 3, [True] * 3]


@pytest.mark.parametrize('k', [3, 5, 1000])
def test_more_than_there_are_classes_is_always_right(k) -> None:
    assert top_k_correct(FEW_SCORES, FEW_LABELS, k).all()


def test_ties_go_to_the_lower_class() -> None:
    equal = np.full((4, 4), 0.25, dtype=np.float32)
    labels = np.arange(4)
    for k in range(1, 5):
        assert top_k_correct(equal, labels, k).tolist() == [label < k for label in range(4)]


def test_a_tie_below_the_label_does_not_matter() -> None:
    scores = np.array([[0.2, 0.6, 0.2], [0.4, 0.2, 0.4]])
    assert top_k_correct(scores, np.array([1, 0]), 1).tolist() == [True, True]
    assert top_k_correct(scores, np.array([2, 2]), 2).tolist() == [False, True]


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
@pytest.mark.parametrize('k', [1, 2, 5])
def test_agrees_with_a_stable_sort(k, dtype) -> None:
    generator = np.random.default_rng(k)
    scores = generator.integers(0, 6, size=(200, 8)).astype(dtype) / 8  # many ties
    labels = generator.integers(0, 8, size=200)
    best = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    expected = [label in row for label, row in zip(labels, best)]
    assert top_k_correct(scores, labels, k).tolist() == expected


def test_top_k_of_no_videos() -> None:
    assert top_k_correct(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), 1).shape == (0,)


def test_scores_that_are_not_numbers_are_never_right() -> None:
    assert not top_k_correct(np.full((3, 4), np.nan), np.array([0, 1, 3]), 1).any()


@pytest.mark.parametrize(
    'scores, expected',
    [
        ([0.1, 0.6, 0.3], 1),
        ([0.4, 0.2, 0.4], 0),
        ([0.2, 0.4, 0.4], 1),
        ([0.5, 0.5, 0.5], 0),
        ([-0.0, 0.0, -1.0], 0),
        ([0.1, INF, 0.2], NO_CLASS),
        ([0.1, 0.2, -INF], NO_CLASS),
        ([NAN, 0.9, 0.1], NO_CLASS),
        ([0.9, NAN, 0.1], NO_CLASS),
        ([NAN, NAN, NAN], NO_CLASS),
    ],
)
def test_predictions_worked_by_hand(scores, expected) -> None:
    assert predicted_classes(np.array([scores])).tolist() == [expected]


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_the_prediction_is_right_exactly_where_top_1_is(dtype) -> None:
    """With ties, infinities and NaN, and for every class a label could name."""
    generator = np.random.default_rng(0)
    values = np.array([0.0, -0.0, 0.25, 0.5, 0.5, NAN, INF, -INF])
    scores = generator.choice(values, p=[0.1, 0.1, 0.2, 0.25, 0.2, 0.05, 0.05, 0.05], size=(500, 5))
    scores = scores.astype(dtype)
    predicted = predicted_classes(scores)
    for label in range(5):
        labels = np.full(500, label)
        assert ((predicted == label) == top_k_correct(scores, labels, 1)).all()
    assert (predicted == NO_CLASS).any()


def test_matrix_worked_by_hand() -> None:
    labels = np.array([0, 0, 0, 2, 2])
    predicted = np.array([0, 2, 2, 1, NO_CLASS])
    assert confusion_matrix(predicted, labels, 3).tolist() == [[1, 0, 2], [0, 0, 0], [0, 1, 0]]


def test_matrix_agrees_with_a_slow_count() -> None:
    generator = np.random.default_rng(1)
    labels, predicted = generator.integers(0, 7, 300), generator.integers(-1, 7, 300)
    expected = [
        [sum(1 for t, p in zip(labels, predicted) if (t, p) == (i, j)) for j in range(7)]
        for i in range(7)
    ]
    assert confusion_matrix(predicted, labels, 7).tolist() == expected


def test_matrix_of_no_videos() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert confusion_matrix(predicted_classes(np.zeros((0, 2))), none, 2).tolist() == [[0, 0]] * 2


def test_confusions_are_ordered_by_growth() -> None:
    before = np.array([[9, 1, 4], [0, 9, 2], [0, 3, 9]])
    after = np.array([[5, 3, 6], [0, 9, 1], [2, 3, 7]])
    assert confusions_by_growth(before, after) == [
        Confusion(0, 2, 4, 6),  # of growth 2 the one that is now most frequent
        Confusion(0, 1, 1, 3),
        Confusion(2, 0, 0, 2),
        Confusion(2, 1, 3, 3),
        Confusion(1, 2, 2, 1),
    ]


def test_equal_confusions_are_ordered_by_class() -> None:
    before, after = np.zeros((3, 3), dtype=int), np.ones((3, 3), dtype=int)
    pairs = [(c.true, c.predicted) for c in confusions_by_growth(before, after)]
    assert pairs == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]


def test_what_is_right_is_no_confusion() -> None:
    assert confusions_by_growth(np.eye(3, dtype=int), 5 * np.eye(3, dtype=int)) == []


def correct(*groups: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """So many videos, right before, right after."""
    before = np.repeat([b for _, b, _ in groups], [n for n, _, _ in groups]).astype(bool)
    after = np.repeat([a for _, _, a in groups], [n for n, _, _ in groups]).astype(bool)
    return before, after


def test_four_videos_worked_by_hand() -> None:
    """One lost of four: a resample loses Binomial(4, 1/4); P(at most 2) = 0.949, at most 3 0.996.

    So the 2.5 % quantile of the change is three lost of four, and the 97.5 % quantile none.
    """
    change = paired_change(*correct((1, 1, 0), (2, 1, 1), (1, 0, 0)))
    assert change == PairedChange(points=-25.0, low=-75.0, high=0.0, p_value=1.0)


def test_gains_and_losses_keep_their_sign() -> None:
    """Four gained, none lost, of four: every resample gains all."""
    assert paired_change(*correct((4, 0, 1))) == (100.0, 100.0, 100.0, 0.125)
    assert paired_change(*correct((4, 1, 0))) == (-100.0, -100.0, -100.0, 0.125)


@pytest.mark.parametrize('number', [1, 2, 3])
def test_of_too_few_videos_nothing_is_said_but_the_change(number: int) -> None:
    change = paired_change(*correct((number, 1, 0)))
    assert change == (-100.0, None, None, None)
    seeds = paired_change(np.ones(number, bool), np.zeros((3, number), bool))
    assert seeds == (-100.0, None, None, None)


def test_nothing_changed_is_no_evidence_of_anything() -> None:
    assert paired_change(*correct((3, 1, 1), (5, 0, 0))) == (0.0, 0.0, 0.0, 1.0)


def test_large_counts_follow_the_normal_law() -> None:
    """20,000 videos, 300 lost and 200 gained: -0.5 points; variance (500 - 100^2 / n) / n^2."""
    change = paired_change(*correct((300, 1, 0), (200, 0, 1), (19_500, 1, 1)))
    spread = 100 * 1.96 * np.sqrt(500 - 100**2 / 20_000) / 20_000
    assert change.points == pytest.approx(-0.5)
    assert change.low == pytest.approx(-0.5 - spread, abs=0.006)
    assert change.high == pytest.approx(-0.5 + spread, abs=0.006)


@pytest.mark.parametrize(
    'lost, gained, p_value',
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (5, 1, 2 * (1 + 6) / 64),
        (4, 4, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_exact_mcnemar_worked_by_hand(lost, gained, p_value) -> None:
    assert mcnemar_p(lost, gained) == pytest.approx(p_value)
    assert mcnemar_p(gained, lost) == pytest.approx(p_value)
    before, after = correct((lost, 1, 0), (gained, 0, 1), (30, 1, 1))
    assert paired_change(before, after).p_value == pytest.approx(p_value)
    assert changed((lost, gained)).changes[0].p_value == pytest.approx(p_value)
    assert changed((lost, gained), same=40).total.p_value == pytest.approx(p_value)


def slow_interval(before, after, resamples: int) -> tuple[float, float]:
    """Draw videos one by one with replacement, in plain Python, with other random numbers."""
    generator = random.Random(7)
    pairs = list(zip(before.tolist(), after.tolist()))
    changes = []
    for _ in range(resamples):
        drawn = generator.choices(pairs, k=len(pairs))
        changes.append(100 * sum(int(a) - int(b) for b, a in drawn) / len(pairs))
    changes.sort()
    return changes[int(0.025 * resamples)], changes[int(0.975 * resamples)]


@pytest.mark.parametrize('lost, gained, same', [(12, 3, 185), (7, 9, 34), (1, 0, 59)])
def test_the_interval_agrees_with_drawing_videos_one_by_one(lost, gained, same) -> None:
    before, after = correct((lost, 1, 0), (gained, 0, 1), (same, 1, 1))
    low, high = slow_interval(before, after, 4000)
    change = paired_change(before, after)
    step = 100 / len(before)
    assert change.low == pytest.approx(low, abs=1.01 * step)
    assert change.high == pytest.approx(high, abs=1.01 * step)


def slow_p(lost: int, gained: int) -> float:
    """Twice the tail of a fair coin."""
    n = lost + gained
    tail = sum(comb(n, k) for k in range(min(lost, gained) + 1)) / 2**n
    return min(1.0, 2 * tail)


def test_p_values_agree_with_a_fair_coin() -> None:
    for lost in range(12):
        for gained in range(12):
            assert mcnemar_p(lost, gained) == pytest.approx(slow_p(lost, gained))


def test_several_draws_are_averaged_before_they_are_compared() -> None:
    """Right before: 1 1 0 0; right under three draws 3, 2, 1, 0 of 3 times: 0, -1/3, +1/3, 0.

    The sum over a resample of four is 1 with P = 9/256, more with 1/256: the ends are 1 of 4.
    """
    before = np.array([True, True, False, False])
    after = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    change = paired_change(before, after)
    assert change.points == pytest.approx(0.0)
    assert (change.low, change.high) == pytest.approx((-25, 25))
    assert change.p_value is None


def test_draws_that_agree_have_the_interval_of_one() -> None:
    before, after = correct((12, 1, 0), (3, 0, 1), (185, 1, 1))
    one, five = paired_change(before, after), paired_change(before, np.stack([after] * 5))
    assert five[:3] == pytest.approx(one[:3])


def test_the_same_counts_give_the_same_interval_in_any_order() -> None:
    before, after = correct((12, 1, 0), (3, 0, 1), (185, 1, 1))
    order = np.random.default_rng(0).permutation(200)
    assert paired_change(before, after) == paired_change(before[order], after[order])


def test_seeds_of_the_bootstrap_agree_closely_but_are_not_the_same() -> None:
    differences = np.repeat([-1, 0, 1], [40, 900, 60])
    found = {bootstrap_interval(differences, seed=seed) for seed in range(4)}
    assert len(found) > 1
    lows, highs = zip(*found)
    assert max(lows) - min(lows) < 0.002 and max(highs) - min(highs) < 0.002


def test_a_bootstrap_of_no_videos_is_refused() -> None:
    with pytest.raises(ValueError, match='at least one video'):
        bootstrap_interval(np.array([], dtype=int))


def test_kinetics_with_13_variants_takes_no_time() -> None:
    generator = np.random.default_rng(0)
    before = generator.random(20_000) < 0.8
    start = time.perf_counter()
    for _ in range(13):
        paired_change(before, before ^ (generator.random(20_000) < 0.03))
    assert time.perf_counter() - start < 5.0


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
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, size=400)
    shift = 3 * np.eye(6)[labels]
    before, after = (
        (generator.integers(0, 4, size=(400, 6)) + shift * k).astype(np.float32) / 8
        for k in (1, 0.5)
    )
    before[generator.random(400) < 0.05, 2] = np.nan
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
