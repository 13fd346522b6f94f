"""Timing the contestants of a benchmark in turn: forwards, shares of pruning, whole passes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor, nn

from sta.analysis.speed import Timing, peak_mb, pruning_share, time_interleaved
from sta.checkpoints import load_checkpoint
from sta.datasets.annotations import read_annotations
from sta.datasets.guard import through_memory
from sta.errors import ConfigError, DataError
from sta.models.prunable import PrunableBackbone, PrunableRecognizer, shape_of
from sta.pruning import Variant
from sta.pruning.variants import chosen_variants

from .clips import files_loader
from .config import reason_of
from .loop import Batch, living_workers, load_batches
from .scoring import Scorer
from .session import build_model

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
        name: pruning_share(twin, partial(twin, clips), rounds=rounds, is_cuda=clips.is_cuda)
        for name, twin in twins.items()
    }


@living_workers()
def time_end_to_end(
    config: Config,
    model: PrunableRecognizer,
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
            shape = shape_of(_views(model, batch))
            for scorer in scorers.values():
                scorer.count(shape)
    if not sound:
        raise DataError(f'not one video can be used; {reason}')
    contestants: dict[str, Callable[[], Any]] = {
        DECODING: lambda: [None for _ in _decoded(config, files)],
        **{name: partial(_score, config, files, scorer) for name, scorer in scorers.items()},
    }
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


# What --compile takes: torch.compile's modes, of which some record CUDA graphs on a GPU.
MODES = ('default', 'reduce-overhead', 'max-autotune')
WITH_CUDA_GRAPHS = MODES[1:]


def twins_of(
    backbone: PrunableBackbone, variants: Sequence[Variant]
) -> dict[str, PrunableBackbone]:
    """One backbone for each variant, all on the same weights."""
    twins = {}
    for variant in variants:
        twins[variant.name] = copy.copy(backbone)  # its own schedule and pruner, shared modules
        twins[variant.name].set_variant(variant)
    return twins


def compiled(twins: Mapping[str, PrunableBackbone], mode: str) -> dict[str, Any]:
    """The same backbones through torch.compile, each in one graph per size of batch.

    Raises:
        ConfigError: a pruner whose shapes depend on the clip.
    """
    for name, twin in twins.items():
        if twin.pruner.at_input:
            raise ConfigError(
                f'--compile: {name} lets the clip say how many tokens stay, which makes no graph '
                f'of fixed shapes; leave it out'
            )
    return {
        name: torch.compile(twin, fullgraph=True, dynamic=False, mode=mode)
        for name, twin in twins.items()
    }


class UnderAutocast(nn.Module):
    """A module whose forward runs under autocast.

    Args:
        module: which one.
        dtype: autocast's.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype

    def forward(self, clips: Tensor) -> Any:
        """Run it."""
        with torch.autocast(clips.device.type, dtype=self.dtype):
            return self.module(clips)


def host_of(backbone: PrunableBackbone) -> nn.Module:
    """mmaction2's own backbone on the same weights, as it can be run in their precision."""
    host, dtype = backbone.host(), next(backbone.parameters()).dtype
    if dtype == torch.float32 or not backbone.host_needs_autocast:
        return host
    return UnderAutocast(host, dtype)


def with_backward(model: nn.Module) -> Callable[[Tensor], None]:
    """A forward and a backward pass of a model, as a training step has them; keeps no gradients.

    Without loss, update and random depth, which no pruning changes.
    """

    def run(clips: Tensor) -> None:
        with torch.enable_grad():
            model(clips).float().square().mean().backward()
        for parameter in model.parameters():
            parameter.grad = None

    return run


# Our transforms, and those of mmaction2 that do the same without surviving broken files.
_HOST_TRANSFORMS = {'OpenVideo': 'DecordInit', 'DecodeFrames': 'DecordDecode'}


def run_host_loop(config: Config, checkpoint: str, *, schedule: str, work_dir: str) -> float:
    """Evaluate one schedule with mmengine's TestLoop and mmaction2's AccMetric.

    Args:
        config: with model and test_dataloader.
        checkpoint: weights.
        schedule: as typed; the first pruner of test_cfg is used.
        work_dir: folder of mmengine's logs.

    Returns:
        Top-1 in per cent.
    """
    model = build_model(config)
    load_checkpoint(model, checkpoint)
    first = dict(pruners=[dict(config.test_cfg.pruners[0])])
    model.backbone.set_variant(chosen_variants(first, schedules=[schedule], pruners=None)[-1])
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    runner = Runner(
        model=model,
        work_dir=work_dir,
        test_dataloader=host_dataloader(config.test_dataloader, Path(work_dir, 'list.txt')),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='AccMetric'),
        default_scope='mmaction',
        log_level='WARNING',
    )
    through_memory(runner.test_loop.dataloader)
    with living_workers():
        return 100.0 * runner.test()['acc/top1']


def host_dataloader(settings: Any, list_path: Path) -> dict[str, Any]:
    """Settings of our data loader, for mmaction2's data set and decoding transforms.

    Args:
        settings: of our data loader.
        list_path: where the list is written again, with tabs: mmaction2 splits lines at blanks.

    Raises:
        DataError: a name holds a tab; or see :func:`read_annotations`.
    """
    ours = settings.dataset
    entries = read_annotations(ours.ann_file)
    if any('\t' in path for path, _ in entries):
        raise DataError(
            f'{ours.ann_file}: mmaction2 cannot read names with tabs: rename the videos'
        )
    lines = (f'{path}\t{label}\n' for path, label in entries)
    list_path.write_text(''.join(lines), encoding='utf-8', errors='surrogateescape')
    pipeline = [
        {**step, 'type': _HOST_TRANSFORMS.get(step['type'], step['type'])} for step in ours.pipeline
    ]
    dataset = dict(
        type='VideoDataset',
        ann_file=str(list_path),
        delimiter='\t',
        data_prefix=ours.data_prefix,
        num_classes=ours.num_classes,
        pipeline=pipeline,
        test_mode=True,
    )
    return {**settings, 'dataset': dataset}
