"""Fidelity by hand: two variants, three videos of two views."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sta.evaluation import fidelities
from sta.evaluation.fidelity import mean_interval

WHOLE = np.array([[[1.0, 0], [3, 0]], [[1, 4], [3, 4]], [[2, 2], [2, 2]]])
"""Its mean over videos and views is (2, 2)."""
PRUNED = WHOLE.copy()
PRUNED[1] = [[3, 4], [1, 4]]
LOGS = np.log([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]], [[0.6, 0.4], [0.25, 0.75], [0.3, 0.7]]])
KEPT = np.array([[[1.0, 1.0]] * 3, [[0.5, np.nan], [1.0, np.nan], [0.75, 0.2]]])


def compare(videos=None, pruned=PRUNED):
    return fidelities(np.stack([WHOLE, pruned]), LOGS, KEPT, videos=videos)


def test_the_whole_model_is_like_itself() -> None:
    whole = compare()[0]
    # The third video is the mean itself: a null vector, whose cosine counts 0.
    assert whole.cosine == pytest.approx(2 / 3) and whole.agreement_percent == 100.0
    assert whole.divergence_nats == 0.0
    assert (whole.moving_kept_percent, whole.still_kept_percent) == (100.0, 100.0)


def test_a_variant_by_hand() -> None:
    """Video 1: (-1, 2) against (1, 2) and the reverse, cosine 3 / 5 in either view."""
    found = compare()[1]
    assert found.cosine == pytest.approx((1.0 + 0.6 + 0.0) / 3)
    assert found.agreement_percent == pytest.approx(100 * 2 / 3)  # the first of equals counts
    divergence = [
        0.5 * math.log(0.5 / 0.6) + 0.5 * math.log(0.5 / 0.4),
        0.0,
        0.9 * math.log(0.9 / 0.3) + 0.1 * math.log(0.1 / 0.7),
    ]
    assert found.divergence_nats == pytest.approx(sum(divergence) / 3)
    assert found.moving_kept_percent == pytest.approx(75.0)
    assert found.still_kept_percent == pytest.approx(20.0)  # only the third video has any


def test_some_videos_are_centred_by_the_mean_of_all() -> None:
    found = compare(videos=np.array([False, True, False]))[1]
    assert found.cosine == pytest.approx(0.6) and found.agreement_percent == 100.0
    assert math.isnan(found.still_kept_percent) and math.isnan(found.cosine_low)


def test_a_common_shift_counts_in_one_cosine_and_not_in_the_other() -> None:
    shifted = compare(pruned=WHOLE + np.array([10.0, -3.0]))[1]
    assert shifted.cosine_unshifted == pytest.approx(2 / 3) and shifted.cosine < 0.5


def test_no_videos() -> None:
    with pytest.raises(ValueError, match='no videos'):
        compare(videos=np.zeros(3, bool))


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    low, high = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert mean_interval(values) == (low, high)
