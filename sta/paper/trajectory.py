"""Trajectory sums for Table 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sta.analysis.places import trajectory_sum_of
from sta.engine.loop import living_workers, load_batches, plan_batches
from sta.engine.session import build_test_runner, say
from sta.errors import DataError, NotFiniteError
from sta.pruning import Variant

from .experiment import TRAJECTORY, Table, config_pruners, variant_of
from .findings import Findings
from .inputs import Inputs
from .runs import RunOptions, plan_runs

# (recognizer, clips (B, 3, frames, H, W) preprocessed, variant) -> mean over the clips of Eq. 6.
TrajectorySum = Callable[[nn.Module, Tensor, Variant], float]


def mean_trajectory_sum(model: nn.Module, clips: Tensor, variant: Variant) -> float:
    """Eq. 6 under a variant, mean over clips that kept a token of the last frame."""
    with model.backbone.using(variant):
        return float(trajectory_sum_of(model.backbone, clips).nanmean())


def add_trajectory_sums(
    findings: Findings, tables: Sequence[Table], inputs: Inputs, options: RunOptions
) -> None:
    """Average trajectory sums over the views of all videos, where weights and data are there.

    Raises:
        CheckpointError, ConfigError, DataError: as tools/test.py.
    """
    for setting, experiments in plan_runs(tables, (TRAJECTORY,)).items():
        if inputs.missing(setting):
            continue
        say(f'trajectory sums of {setting.name}')
        config = inputs.config(setting)
        config.test_cfg.pruners = config_pruners(experiments)
        config.work_dir = str(options.folder / setting.name)
        runner = build_test_runner(config, str(inputs.checkpoints[setting.checkpoint]))
        variants = [variant_of(experiment) for experiment in experiments]
        sums = mean_trajectory_sums(runner, variants, mean_trajectory_sum)
        findings.trajectory_sums.update(zip(experiments, sums, strict=True))


@torch.inference_mode()
def mean_trajectory_sums(
    runner: Any, variants: Sequence[Variant], function: TrajectorySum
) -> list[float]:
    """Mean over all clips of the runner's videos, one number per variant.

    Raises:
        DataError: not one video can be used.
        NotFiniteError: keys are NaN or infinite.
    """
    model, loader = runner.model.eval(), runner.test_loop.dataloader
    totals, num_clips = [0.0] * len(variants), 0
    batches = load_batches(loader, plan_batches(len(loader.dataset), loader.batch_size, ()))
    with living_workers():
        for batch in batches:
            if batch.data is None:
                continue
            inputs = model.data_preprocessor(batch.data, training=False)['inputs']
            clips = inputs.flatten(0, 1)
            num_clips += len(clips)
            for i, variant in enumerate(variants):
                try:
                    totals[i] += len(clips) * function(model, clips, variant)
                except NotFiniteError as error:
                    names = ', '.join(sample.filename for sample in batch.data['data_samples'])
                    raise NotFiniteError(f'{names}: under {variant.name} {error}') from None
    if not num_clips:
        raise DataError(f'none of the {len(loader.dataset)} videos can be used')
    return [total / num_clips for total in totals]
