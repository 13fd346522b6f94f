"""Top-k accuracy from scores, and how sure it is."""

from __future__ import annotations

import numpy as np


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each video's label is among its k highest scores.

    Equal scores are ranked by class index, so that the answer never depends on a sort's whim.

    Args:
        scores: (videos, classes).
        labels: (videos,) int64.
        k: how many classes count; all when there are fewer.

    Returns:
        (videos,) bool.
    """
    own = scores[np.arange(len(labels)), labels][:, None]
    tied_behind = (scores == own) & (np.arange(scores.shape[1]) >= labels[:, None])
    # Counting what is not behind, rather than what is ahead, makes NaN scores wrong, not right.
    return (~((scores < own) | tied_behind)).sum(1) < k


def standard_error(percent: np.ndarray | float, num_videos: int) -> np.ndarray:
    """Binomial standard error of one accuracy, all in per cent: the chance in drawing the videos.

    Args:
        percent: accuracies.
        num_videos: behind each of them.
    """
    share = np.asarray(percent, dtype=float) / 100.0
    return 100.0 * np.sqrt(share * (1.0 - share) / num_videos)
