"""How sure a change in accuracy is, when both variants saw the same videos.

Two variants of one model agree on most videos. Only the videos on which they differ say anything
about the change, so that paired figures are several times as sharp as two separate accuracies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # whose parts are imported when first used

RESAMPLES = 20_000
LEVEL = 0.95
# Of fewer the interval is the least and the greatest difference whatever they are: n of n resampled
# videos are the same one with probability n^-n, which falls below 2.5 % from four on.
FEWEST_VIDEOS = 4


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
