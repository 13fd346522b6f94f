"""Top-k accuracy from scores, and how sure it is."""

from __future__ import annotations

import numpy as np


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
    than FEWEST_VIDEOS: see :func:`sta.report.columns.unpaired`.

    Args:
        percent: accuracies.
        num_videos: behind each of them.
    """
    share = np.asarray(percent, dtype=float) / 100.0
    return 100.0 * np.sqrt(share * (1.0 - share) / num_videos)
