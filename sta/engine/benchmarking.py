"""Timing the contestants of a benchmark in turn: forwards, shares of pruning, whole passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from sta.analysis.speed import Timing, peak_mb, pruning_share, time_interleaved
from sta.errors import ConfigError, DataError
from sta.models.prunable import PrunableBackbone
from sta.pruning import Variant

from .batches import Batch, living_workers, load_batches
from .config import reason_of
from .prediction import files_loader
from .scoring import Scorer

DECODING = 'decoding alone'


@contextmanager
def compiling(num_graphs: int) -> Iterator[None]:
    """Room for so many graphs of one model, and one line where the compiler fails.

    Raises:
        ConfigError: torch.compile does not work here, as without a C++ compiler.
    """
    try:
        # Every contestant and size of batch is a graph of the same forward; torch allows 8.
        with torch._dynamo.config.patch(cache_size_limit=num_graphs + 8):
            yield
    except Exception as error:
        if not type(error).__module__.startswith(('torch._dynamo', 'torch._inductor')):
            raise
        raise ConfigError(f'--compile: torch.compile fails here: {reason_of(error)}') from error


def time_forwards(
    contestants: Mapping[str, Callable[[Tensor], Any]],
    clips: Tensor,
    *,
    rounds: int,
    warm_up: int,
    with_peaks: bool = True,
) -> tuple[list[Timing], dict[str, float | None]]:
    """Time contestants on the same clips in turn, and look how much memory each takes.

    Args:
        contestants: by name.
        clips: (B, 3, frames, H, W) on their device.
        rounds: timed forwards of each.
        warm_up: forwards beforehand.
        with_peaks: also look at the memory. CUDA graphs hold theirs all the time, so that a replay
            seems to take none.

    Returns:
        A timing and the peak memory in MB of each.
    """
    runs = {name: (lambda run=run: run(clips)) for name, run in contestants.items()}
    timings = time_interleaved(
        runs, batch_size=len(clips), rounds=rounds, warm_up=warm_up, is_cuda=clips.is_cuda
    )
    if not with_peaks:
        return timings, {}
    return timings, {name: peak_mb(run, is_cuda=clips.is_cuda) for name, run in runs.items()}


def pruning_shares(
    twins: Mapping[str, PrunableBackbone], clips: Tensor, *, rounds: int
) -> dict[str, float]:
    """Share of an eager forward that each variant spends in pruning stages."""
    return {
        name: pruning_share(twin, lambda t=twin: t(clips), rounds=rounds, is_cuda=clips.is_cuda)
        for name, twin in twins.items()
    }


@living_workers()
def time_end_to_end(
    config: Config,
    model: nn.Module,
    files: Sequence[Any],
    variants: Sequence[Variant],
    *,
    rounds: int,
    precision: str = 'fp32',
) -> list[Timing]:
    """Time passes over videos from the file to the scores, and passes that only decode.

    Args:
        config: with test_dataloader, and perhaps test_cfg.max_views_per_forward.
        model: with its weights, in evaluation mode.
        files: the videos of a pass.
        variants: pruner and schedule each.
        rounds: timed passes of each; one of each comes before, which also fills the disk cache.
        precision: 'fp32', 'bf16' or 'fp16' (autocast).

    Returns:
        Seconds per pass; ``batch_size`` is the number of videos that can be decoded.

    Raises:
        ConfigError, DataError, ScheduleError, VariantError: pipeline, videos or model do not fit.
    """
    most = (config.get('test_cfg') or {}).get('max_views_per_forward', 16)
    scorers = {
        variant.name: Scorer(model, [variant], precision=precision, max_views_per_forward=most)
        for variant in variants
    }
    sound = 0
    for batch in _decoded(config, files):
        if batch.data is None:
            reason = f'{batch.broken[0].filename}: {batch.broken[0].reason}'
            continue
        sound += 1
        if sound == 1:
            shape = tuple(_views(model, batch).shape[2:])
            for scorer in scorers.values():
                scorer.count(shape)
    if not sound:
        raise DataError(f'not one video can be used; {reason}')
    passes = {name: (lambda s=scorer: _score(config, files, s)) for name, scorer in scorers.items()}
    contestants = {DECODING: lambda: [None for _ in _decoded(config, files)], **passes}
    # A pass ends with its scores on the host: the clock on the wall sees decoding and GPU alike.
    return time_interleaved(contestants, batch_size=sound, rounds=rounds, warm_up=1, is_cuda=False)


def _score(config: Config, files: Sequence[Any], scorer: Scorer) -> None:
    for batch in _decoded(config, files):
        if batch.data is not None:
            scorer.score(_views(scorer.model, batch))


def _decoded(config: Config, files: Sequence[Any]) -> Iterator[Batch]:
    batches = load_batches(
        files_loader(config, files), [range(i, i + 1) for i in range(len(files))]
    )
    with living_workers():
        yield from batches


def _views(model: Any, batch: Batch) -> Tensor:
    """(1, views, 3, frames, H, W), normalised, on the model's device."""
    return model.data_preprocessor(batch.data, training=False)['inputs']
