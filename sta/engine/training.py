"""From a config to a runner that trains."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from torch import nn

from sta.atomic import check_folder, naming, replacing
from sta.checkpoints import LoadReport, load_checkpoint, load_encoder, read_state_dict
from sta.datasets.repeated_augmentation import COLLATE

from .config import ConfigError
from .session import build_model, check_labels, check_videos, explained, say


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
    _check_start(config)
    check_folder(Path(config.work_dir), '--work-dir')
    _check_recipe(config)
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
    _read_checkpoints(config)
    if not torch.cuda.is_available() and config.launcher != 'none':
        config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    start = _start_of(config)
    if start is not None:
        # mmengine knows one naming, and passes over weights that do not fit with a warning.
        say(start(model))
        config.load_from = None
    Path(config.work_dir).mkdir(parents=True, exist_ok=True)
    register_backend('local', _WholeFiles, force=True, prefixes='')
    with naming(Path(config.work_dir)), explained(f'config {config.filename} cannot be trained'):
        runner = Runner.from_cfg(config)
        if start is not None:
            runner.register_hook(_StartFrom(start))
        _try_parts(runner, config)
    return runner


def _try_parts(runner: Runner, config: Config) -> None:
    """Build once what the runner builds when it trains, so that a misfit shows now."""
    settings = runner.optim_wrapper, runner._train_loop
    try:
        runner._train_loop = runner.build_train_loop(copy.deepcopy(config.train_cfg))
        runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(config.optim_wrapper))
        if config.get('param_scheduler') is not None:
            runner.build_param_scheduler(copy.deepcopy(config.param_scheduler))
    finally:
        runner.optim_wrapper, runner._train_loop = settings


def _start_of(config: Config) -> Callable[[nn.Module], LoadReport] | None:
    """What puts the weights into a model that training starts from; None for random ones."""
    if config.get('resume'):
        return None
    if config.get('load_from') is not None:
        return partial(load_checkpoint, source=config.load_from)
    if config.get('pretrained') is not None:
        return partial(load_encoder, source=config.pretrained)
    return None


class _WholeFiles(LocalBackend):
    """mmengine's writer of checkpoints, without its half of a file where the disk is full."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes whole or not at all; see :func:`sta.atomic.replacing`."""
        with replacing(Path(filepath)) as temporary:
            temporary.write_bytes(obj)


class _StartFrom(Hook):
    """Load weights when training starts: mmengine draws random ones right before."""

    def __init__(self, load: Callable[[nn.Module], LoadReport]) -> None:
        self.load = load

    def before_train(self, runner: Runner) -> None:
        self.load(getattr(runner.model, 'module', runner.model))


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
    last = Path(config.work_dir, 'last_checkpoint')
    if checkpoint is None and not last.exists():
        say(f'nothing to resume in {config.work_dir}: training starts anew')
        return
    if checkpoint is None and not last.read_text(encoding='utf-8').strip():
        # It is written after the checkpoint, which a full disk may still have held.
        found = sorted(last.parent.glob('*.pth'), key=lambda path: path.stat().st_mtime)
        checkpoint = str(found[-1]) if found else None
    config.resume, config.load_from = True, checkpoint


def _check_start(config: Config) -> None:
    """Of several starts one is asked for, and what training would write over is not there."""
    for key in ('load_from', 'pretrained'):
        if not isinstance(config.get(key), str | None):
            raise ConfigError(f'{key} must be the path of a checkpoint, got {config[key]!r}')
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


def _read_checkpoints(config: Config) -> None:
    """What training starts from can be read; mmengine would say so in its own words, and later."""
    for key in ('load_from',) if config.get('resume') else ('load_from', 'pretrained'):
        if config.get(key) is not None:
            read_state_dict(config[key])


def _check_recipe(config: Config) -> None:
    """Numbers that torch and mmengine would take in silence, or refuse in words of their own.

    Raises:
        ConfigError: names the setting, its value and what would be right.
    """
    optimizer = config.optim_wrapper.get('optimizer') or {}
    kind = optimizer.get('type')
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise ConfigError(f'optim_wrapper.optimizer.type: there is no optimizer {kind!r}')
    for key in ('lr', 'weight_decay'):
        value = optimizer.get(key, 0.0)
        if not _is_number(value) or not 0 <= value < math.inf:
            raise ConfigError(
                f'optim_wrapper.optimizer.{key} must be a number of at least 0, got {value!r}'
            )
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    if not isinstance(hook.get('interval', 1), int):
        raise ConfigError(
            f'default_hooks.checkpoint.interval must be a whole number, got {hook["interval"]!r}'
        )
    whole = [('train_cfg', 'max_epochs'), ('train_cfg', 'max_iters'), ('train_cfg', 'val_interval')]
    whole += [(f'{part}_dataloader', 'batch_size') for part in ('train', 'val')]
    whole += [('auto_scale_lr', 'base_batch_size')]
    for part, key in whole:
        value = (config.get(part) or {}).get(key)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f'{part}.{key} must be a whole number of at least 1, got {value!r}')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
