"""From a config to a model with weights and a loop that is ready to run."""

from __future__ import annotations

import os
from typing import Any

from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from sta.checkpoints import load_checkpoint
from sta.datasets.video_list import DataError
from sta.pruning import ScheduleError

from .config import ConfigError


def build_model(config: Config) -> nn.Module:
    """Build the recognizer of a config, with random weights.

    Raises:
        ConfigError: no model, or one that cannot be built; says why.
        ScheduleError: the backbone's schedule does not fit.
    """
    if 'model' not in config:
        raise ConfigError(f'config {config.filename} defines no model')
    init_default_scope(config.get('default_scope', 'mmaction'))
    try:
        model = MODELS.build(config.model)
    except ScheduleError:
        raise
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise ConfigError(f'the model of {config.filename} cannot be built: {error}') from error
    if not hasattr(getattr(model, 'backbone', None), 'using'):
        raise ConfigError(
            f'the backbone of {config.filename} cannot drop tokens; use STAVisionTransformer'
        )
    return model


def build_test_runner(config: Config, checkpoint: str | None) -> Runner:
    """A runner whose test loop is ready: model on its device, weights loaded, data checked.

    Args:
        config: with model, test_dataloader and test_cfg; work_dir set.
        checkpoint: weights; None keeps the random ones and says so.

    Raises:
        CheckpointError, ConfigError, DataError, ScheduleError, VariantError: see their messages.
    """
    model = build_model(config)
    if checkpoint is not None:
        say(load_checkpoint(model, checkpoint))
    else:
        say('no checkpoint given: random weights, the accuracy means nothing')
    runner = Runner(
        model=model,
        work_dir=config.work_dir,
        test_dataloader=config.test_dataloader,
        test_cfg=config.test_cfg,
        test_evaluator=config.get('test_evaluator', []),
        env_cfg=config.get('env_cfg', dict(dist_cfg=dict(backend='gloo'))),
        default_scope=config.get('default_scope', 'mmaction'),
        randomness=config.get('randomness', dict(seed=0)),
        log_level='WARNING',
        cfg=config,
    )
    try:
        loop = runner.test_loop
    except (TypeError, KeyError, AssertionError, FileNotFoundError) as error:
        raise ConfigError(f'test_cfg or test_dataloader of {config.filename}: {error}') from error
    if not hasattr(loop, 'variants'):
        raise ConfigError(f"test_cfg of {config.filename} must have type='VariantTestLoop'")
    _check_videos(loop.dataloader.dataset)
    for variant in loop.variants:
        with runner.model.backbone.using(variant):
            pass
    return runner


def check_training_config(config: Config) -> None:
    """Fail early, in one line, where mmengine would fail late.

    Raises:
        ConfigError: a part that training needs is missing, or the model cannot be built.
        DataError: the training list or its videos are not there.
    """
    needed = ('train_cfg', 'train_dataloader', 'optim_wrapper')
    missing = [part for part in needed if part not in config]
    if missing:
        raise ConfigError(
            f'config {config.filename} defines no {", ".join(missing)}; to train use one of '
            f'configs/train_*.py'
        )
    build_model(config)
    for part in ('train_dataloader', 'val_dataloader'):
        if part in config:
            _check_videos(DATASETS.build(config[part].dataset))


def say(message: Any) -> None:
    """Print a line once, whatever the number of processes."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(message, flush=True)


def _check_videos(dataset: Any) -> None:
    missing = dataset.missing_files() if hasattr(dataset, 'missing_files') else []
    if missing:
        raise DataError(
            f'{len(missing)} of {len(dataset)} videos of {dataset.ann_file} are not on the disk, '
            f'the first is {missing[0]}; is data_prefix of the config right?'
        )


def clip_shape(backbone: Any) -> tuple[int, int, int, int]:
    """(3, frames, H, W) of one view, the size the backbone was built for."""
    return (
        backbone.patch_embed.projection.in_channels,
        backbone.num_frames,
        backbone.img_size,
        backbone.img_size,
    )


def views_per_video(config: Config) -> int:
    """Temporal clips x spatial crops of the test pipeline; 1 where it says nothing."""
    views = 1
    for step in config.get('test_dataloader', {}).get('dataset', {}).get('pipeline', []):
        views *= step.get('num_clips', 1) * step.get('num_crops', 1)
        views *= 3 if step['type'] == 'ThreeCrop' else 1
    return views
