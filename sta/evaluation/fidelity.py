"""How near pruned features and predictions stay to those of the whole model, without labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported when first used

from .statistics import FEWEST_VIDEOS

RESAMPLES = 5_000


@dataclass(frozen=True)
class Fidelity:
    """One variant against no pruning, means over videos; NaN where undefined.

    Attributes:
        cosine: of the pooled features after the mean of the unpruned ones is taken off, -1 to 1.
        cosine_low: lower end of its 95 % bootstrap interval over videos.
        cosine_high: upper end.
        cosine_unshifted: the same after the mean of the pruned features is taken off these: without
            the shift that all videos share.
        agreement_percent: videos whose most probable class is that of the whole model.
        divergence_nats: Kullback-Leibler divergence of the prediction from the whole model's.
        moving_kept_percent: tubelets that change and are left after the last pruning stage.
        still_kept_percent: tubelets that stand still and are.
    """

    cosine: float
    cosine_low: float
    cosine_high: float
    cosine_unshifted: float
    agreement_percent: float
    divergence_nats: float
    moving_kept_percent: float
    still_kept_percent: float


def fidelities(
    features: np.ndarray,
    log_probabilities: np.ndarray,
    kept: np.ndarray,
    *,
    whole: int = 0,
    videos: np.ndarray | None = None,
) -> list[Fidelity]:
    """Compare every variant with the one that drops nothing.

    Features are centred by the mean over all videos of the whole model, also where only some are
    compared: what all videos share says nothing about any of them.

    Args:
        features: (variants, videos, views, C).
        log_probabilities: (variants, videos, classes), of the mean over a video's views.
        kept: (variants, videos, 2) shares of moving and of still tubelets that are left.
        whole: place of the variant that drops nothing.
        videos: which of them to compare, (videos,) bool; default all.

    Raises:
        ValueError: no videos.
    """
    chosen = np.ones(features.shape[1], bool) if videos is None else videos
    if not chosen.any():
        raise ValueError('no videos to compare')
    centres = features.mean((1, 2), dtype=np.float64)[:, None, None]
    some = features[:, chosen].astype(np.float64)
    unpruned = some[whole] - centres[whole]
    cosines = _cosine(some - centres[whole], unpruned).mean(-1)
    unshifted = _cosine(some - centres, unpruned).mean((-2, -1))
    logs = log_probabilities[:, chosen].astype(np.float64)
    same = logs.argmax(-1) == logs[whole].argmax(-1)
    divergences = scipy.special.rel_entr(np.exp(logs[whole]), np.exp(logs)).sum(-1)
    found = []
    for i, cosine in enumerate(cosines):
        low, high = mean_interval(cosine)
        moving, still = _means(kept[i, chosen])
        found.append(
            Fidelity(
                cosine=float(cosine.mean()),
                cosine_low=low,
                cosine_high=high,
                cosine_unshifted=float(unshifted[i]),
                agreement_percent=100.0 * float(same[i].mean()),
                divergence_nats=float(divergences[i].mean()),
                moving_kept_percent=100.0 * moving,
                still_kept_percent=100.0 * still,
            )
        )
    return found


def mean_interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over videos; NaN for fewer than FEWEST_VIDEOS.

    Args:
        values: (videos,).
        seed: of the resampling.
    """
    if len(values) < FEWEST_VIDEOS:
        return float('nan'), float('nan')
    interval = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        method='percentile',
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Over the last axis; 0 where either vector is null."""
    product = (one * other).sum(-1)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)


def _means(shares: np.ndarray) -> Sequence[float]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # no video has tubelets of the kind
        return [float(mean) for mean in np.nanmean(shares, axis=0)]
