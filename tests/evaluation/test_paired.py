"""Intervals and tests of paired changes: worked by hand, and a slow bootstrap video by video."""

from __future__ import annotations

import random
import time
from math import comb

import numpy as np
import pytest

from sta.evaluation import PairedChange, bootstrap_interval, mcnemar_p, paired_change


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


def test_no_videos_are_refused() -> None:
    with pytest.raises(ValueError, match='at least one video'):
        bootstrap_interval(np.array([], dtype=int))


def test_kinetics_with_13_variants_takes_no_time() -> None:
    generator = np.random.default_rng(0)
    before = generator.random(20_000) < 0.8
    start = time.perf_counter()
    for _ in range(13):
        paired_change(before, before ^ (generator.random(20_000) < 0.03))
    assert time.perf_counter() - start < 5.0
