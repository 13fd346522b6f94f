"""From a config to a runner that trains."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from sta.checkpoints import load_checkpoint, read_state_dict

from .config import ConfigError
from .session import build_model, check_labels, check_videos, explained, say


def build_train_runner(config: Config) -> Runner:
    """A runner that is ready to train; fails early and in one line.

    Args:
        config: with model, train_cfg, train_dataloader, optim_wrapper, work_dir and launcher.

    Raises:
        ConfigError: a part is missing or cannot be built, or the work dir holds an older run.
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
            if config[part].get('drop_last') and len(dataset) < config[part].batch_size:
                raise ConfigError(
                    f'{part}: {len(dataset)} videos do not fill one batch of '
                    f'{config[part].batch_size}'
                )
    if not torch.cuda.is_available() and config.launcher != 'none':
        config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    start = None
    if config.get('load_from') is not None and not config.get('resume'):
        # mmengine knows one naming, and passes over weights that do not fit with a warning.
        say(load_checkpoint(model, config.load_from))
        start, config.load_from = config.load_from, None
    Path(config.work_dir).mkdir(parents=True, exist_ok=True)
    with explained(f'config {config.filename} cannot be trained'):
        runner = Runner.from_cfg(config)
        if start is not None:
            runner.register_hook(_StartFrom(start))
        runner.build_optim_wrapper(copy.deepcopy(config.optim_wrapper))
        runner.build_train_loop(copy.deepcopy(config.train_cfg))
    return runner


class _StartFrom(Hook):
    """Load weights when training starts: mmengine draws random ones right before."""

    def __init__(self, path: str) -> None:
        self.path = path

    def before_train(self, runner: Runner) -> None:
        load_checkpoint(getattr(runner.model, 'module', runner.model), self.path)


def _check_checkpoints(config: Config) -> None:
    """What training starts from must be there, and what it would write over must not."""
    folder = Path(config.work_dir)
    if not config.get('resume') and any((*folder.glob('epoch_*.pth'), *folder.glob('iter_*.pth'))):
        raise ConfigError(
            f'{folder} already holds checkpoints of a run: --resume goes on with it, --work-dir '
            f'starts another'
        )
    if (
        config.get('resume')
        and config.get('load_from') is None
        and not (folder / 'last_checkpoint').exists()
    ):
        say(f'nothing to resume in {folder}: training starts anew')
    if config.get('load_from') is not None:
        if config.get('resume') and not config.load_from.endswith('.pth'):
            raise ConfigError(f'--resume needs a .pth of tools/train.py, got {config.load_from}')
        read_state_dict(config.load_from)
