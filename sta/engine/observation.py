"""One pass over the test set that keeps features and kept tokens instead of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import logsumexp

from sta.analysis.fidelity import Observed, observe
from sta.datasets.progress import VideoProgress
from sta.errors import DataError, NotFiniteError
from sta.evaluation import all_finite

from .batches import living_workers, load_batches, plan_batches, timed
from .scoring import not_finite_text


class Observations(NamedTuple):
    """V variants on the videos that could be decoded.

    Attributes:
        features: (V, videos, views, C) float32.
        log_probabilities: (V, videos, classes) float32, of the mean over a video's views.
        kept: (V, videos, 2) float64, mean over a video's views; NaN where undefined.
        labels: (videos,) int64.
        num_broken: videos that were left out.
    """

    features: np.ndarray
    log_probabilities: np.ndarray
    kept: np.ndarray
    labels: np.ndarray
    num_broken: int


def observe_videos(runner: Any, *, still: float) -> Observations:
    """Run every video of a test runner under every variant of its loop.

    Args:
        runner: from :func:`sta.engine.session.build_test_runner`, without a store.
        still: see :func:`sta.analysis.fidelity.observe`.

    Raises:
        DataError: not one video can be used.
        NotFiniteError: features or logits are NaN or infinite, which have no cosine.
        ScheduleError: a variant does not fit the model or the clips.
    """
    loop = runner.test_loop
    model, loader = runner.model.eval(), loop.dataloader
    batches = plan_batches(len(loader.dataset), loader.batch_size, ())
    parts, labels, num_broken = [], [], 0
    loaded = timed(load_batches(loader, batches))
    progress = VideoProgress(num_videos=len(loader.dataset), shown=True)
    with living_workers(), progress:
        for places, (batch, wait_s) in zip(batches, loaded, strict=True):
            num_broken += len(batch.broken)
            if batch.data is not None:
                data = model.data_preprocessor(batch.data, training=False)
                labels += [int(sample.gt_label.item()) for sample in data['data_samples']]
                parts.append(_by_video(data['inputs'], model, loop, still))
                _check_finite(parts[-1], [sample.filename for sample in data['data_samples']], loop)
            progress.advance(len(places), wait_s)
    if not parts:
        raise DataError(f'none of the {len(loader.dataset)} videos can be used')
    features, logs, kept = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    return Observations(features, logs, kept, np.array(labels), num_broken)


def _by_video(inputs: torch.Tensor, model: Any, loop: Any, still: float) -> tuple[np.ndarray, ...]:
    """(videos, views, 3, T, H, W) to features, log-probabilities and kept shares, V first."""
    videos, views = inputs.shape[:2]
    found: list[list[Observed]] = [[] for _ in loop.variants]
    for clips in inputs.flatten(0, 1).split(loop.max_views_per_forward):
        for one, observed in zip(found, observe(model, clips, loop.variants, still=still)):
            one.append(observed)
    features, logs, kept = (
        np.stack([np.concatenate([getattr(part, name) for part in one]) for one in found]).reshape(
            len(found), videos, views, -1
        )
        for name in Observed._fields
    )
    return features, logsumexp(logs, axis=2, b=1.0 / views), _mean_over_views(kept)


def _check_finite(part: tuple[np.ndarray, ...], names: Sequence[str], loop: Any) -> None:
    features, logs, _ = part
    finite = all_finite(features).all(-1) & all_finite(logs)
    if not finite.all():
        place = int(np.flatnonzero(~finite.all(0))[0])
        failed = [
            v.name for v, good in zip(loop.variants, finite[:, place], strict=True) if not good
        ]
        raise NotFiniteError(f'{names[place]}: {not_finite_text(failed, "fp32")}')


def _mean_over_views(kept: np.ndarray) -> np.ndarray:
    """(V, videos, views, 2) to (V, videos, 2); NaN where no view has such tubelets."""
    known = ~np.isnan(kept)
    total, number = np.where(known, kept, 0.0).sum(2), known.sum(2)
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
