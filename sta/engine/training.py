"""From a config to a runner that trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from sta.checkpoints import LoadReport, load_checkpoint, load_encoder, read_state_dict
from sta.datasets.repeated_augmentation import COLLATE
from sta.datasets.transport import through_memory

from .batches import living_workers
from .config import ConfigError
from .session import build_model, check_labels, check_videos, explained, say, say_what_takes_long


def build_train_runner(config: Config) -> Runner:
    """A runner that is ready to train; fails early and in one line.

    Args:
        config: with model, train_cfg, train_dataloader, optim_wrapper, work_dir and launcher.

    Raises:
        ConfigError: a part is missing or cannot be built, or the work dir holds an older run.
        CheckpointError: what training starts from cannot be read or does not fit.
        DataError: the training list or its videos are not there.
    """
    needed = ('train_cfg', 'train_dataloader', 'optim_wrapper')
    missing = [part for part in needed if part not in config]
    if missing:
        raise ConfigError(
            f'config {config.filename} defines no {", ".join(missing)}; to train use one of '
            f'configs/train_*.py'
        )
    _check_checkpoints(config)
    model = build_model(config)
    for part in ('train_dataloader', 'val_dataloader'):
        if part in config:
            with explained(f'{part} of {config.filename} cannot be built'):
                dataset = DATASETS.build(config[part].dataset)
            check_videos(dataset)
            check_labels(dataset, model)
            _check_collation(part, config, dataset)
            if config[part].get('drop_last') and len(dataset) < config[part].batch_size:
                raise ConfigError(
                    f'{part}: {len(dataset)} videos do not fill one batch of '
                    f'{config[part].batch_size}'
                )
    if not torch.cuda.is_available() and config.launcher != 'none':
        config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    start = _start_of(config)
    if start is not None:
        say_what_takes_long(config.get('load_from') or config.pretrained)
        # mmengine knows one naming, and passes over weights that do not fit with a warning.
        say(start(model))
        config.load_from = None
    Path(config.work_dir).mkdir(parents=True, exist_ok=True)
    with explained(f'config {config.filename} cannot be trained'):
        runner = Runner.from_cfg(config)
        runner.register_hook(_BatchesThroughMemory())
        if start is not None:
            runner.register_hook(_StartFrom(start))
        runner.build_optim_wrapper(copy.deepcopy(config.optim_wrapper))
        runner.build_train_loop(copy.deepcopy(config.train_cfg))
    return runner


def _start_of(config: Config) -> Callable[[nn.Module], LoadReport] | None:
    """What puts the weights into a model that training starts from; None for random ones."""
    if config.get('resume'):
        return None
    if config.get('load_from') is not None:
        return partial(load_checkpoint, source=config.load_from)
    if config.get('pretrained') is not None:
        return partial(load_encoder, source=config.pretrained)
    return None


class _StartFrom(Hook):
    """Load weights when training starts: mmengine draws random ones right before."""

    def __init__(self, load: Callable[[nn.Module], LoadReport]) -> None:
        self.load = load

    def before_train(self, runner: Runner) -> None:
        self.load(getattr(runner.model, 'module', runner.model))


class _BatchesThroughMemory(Hook):
    """mmengine builds the data loaders itself, when training starts."""

    def before_train(self, runner: Runner) -> None:
        through_memory(runner.train_dataloader)
        if runner.val_loop is not None:
            through_memory(runner.val_dataloader)


def run_training(runner: Runner) -> None:
    """Train as the runner says.

    Raises:
        DataError: a data loading worker died.
    """
    again = 'checkpoints are kept: run the same command again, with --resume and'
    with living_workers('train_dataloader', again=again):
        runner.train()


def _check_collation(part: str, config: Config, dataset: Any) -> None:
    collate = (config[part].get('collate_fn') or {}).get('type')
    if getattr(dataset, 'repeats', False) and collate != COLLATE:
        raise ConfigError(
            f'{part} of {config.filename}: RepeatedAugmentation gives several clips a video, set '
            f"collate_fn=dict(type='{COLLATE}')"
        )


def resume_training(config: Config, checkpoint: str | None = None) -> None:
    """Make a config go on from a checkpoint, or from the last one in its work_dir.

    Where there is none yet, training begins as the config says, so that a job can be started again
    and again with the same command.

    Args:
        config: with work_dir; changed.
        checkpoint: None takes the last one.
    """
    if checkpoint is None and not Path(config.work_dir, 'last_checkpoint').exists():
        say(f'nothing to resume in {config.work_dir}: training starts anew')
        return
    config.resume, config.load_from = True, checkpoint


def _check_checkpoints(config: Config) -> None:
    """What training starts from must be there, and what it would write over must not."""
    folder, resume, whole = Path(config.work_dir), config.get('resume'), config.get('load_from')
    if resume:
        if whole is not None and not whole.endswith('.pth'):
            raise ConfigError(f'--resume needs a .pth of tools/train.py, got {whole}')
    elif any((*folder.glob('epoch_*.pth'), *folder.glob('iter_*.pth'))):
        raise ConfigError(
            f'{folder} already holds checkpoints of a run: --resume [CHECKPOINT] goes on with it, '
            f'--work-dir starts another'
        )
    elif config.get('pretrained') is not None:
        if whole is not None:
            raise ConfigError(
                f'load_from is {whole} and pretrained {config.pretrained}: load_from is a whole '
                f'model, pretrained an encoder whose classifier begins anew; set one to None'
            )
        read_state_dict(config.pretrained)
    if whole is not None:
        read_state_dict(whole)
