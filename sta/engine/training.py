"""From a config to a runner that trains."""

from __future__ import annotations

import copy
import locale
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import DATASETS, OPTIM_WRAPPERS
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from torch import nn

from sta.atomic import check_folder, naming, replacing
from sta.checkpoints import LoadReport, load_checkpoint, load_encoder, read_state_dict
from sta.compat import register_adafactor
from sta.datasets.annotations import legible
from sta.datasets.augmentation import COLLATE
from sta.datasets.guard import through_memory
from sta.errors import ConfigError, NotFiniteError
from sta.models.prunable import PrunableRecognizer

from .loop import living_workers
from .session import build_model, check_labels, check_videos, explained, say, say_what_takes_long

# What a config that trains has and one that evaluates lacks.
SCHEDULE_KEYS = ('train_cfg', 'val_cfg', 'val_evaluator', 'optim_wrapper', 'param_scheduler')


def build_train_runner(config: Config) -> Runner:
    """A runner that is ready to train; fails early and in one line.

    Args:
        config: with model, train_cfg, train_dataloader, optim_wrapper, work_dir and launcher.

    Raises:
        ConfigError: a part is missing or cannot be built, or the work dir holds an older run.
        CheckpointError: what training starts from cannot be read or does not fit.
        DataError: the training list or its videos are not there.

    The runner's ``train`` raises NotFiniteError where loss, weights or scores are NaN or infinite.
    """
    needed = ('train_cfg', 'train_dataloader', 'optim_wrapper')
    missing = [part for part in needed if part not in config]
    if missing:
        raise ConfigError(
            f'config {config.filename} defines no {", ".join(missing)}; to train use one of '
            f'configs/train_*.py'
        )
    _check_names(config)
    _check_start(config)
    check_folder(Path(config.work_dir), '--work-dir')
    _check_recipe(config)
    model = build_model(config)
    for part in ('train_dataloader', 'val_dataloader'):
        if part in config:
            _check_data(config, part, model)
    _read_checkpoints(config)
    if not torch.cuda.is_available() and config.launcher != 'none':
        config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    start = _start_of(config)
    if start is not None:
        say_what_takes_long(config.get('load_from') or config.pretrained)
        # mmengine knows one naming, and passes over weights that do not fit with a warning.
        say(start(model))
        config.load_from = None
    Path(config.work_dir).mkdir(parents=True, exist_ok=True)
    register_backend('local', _WholeFiles, force=True, prefixes='')
    with naming(Path(config.work_dir)), explained(f'config {config.filename} cannot be trained'):
        runner = Runner.from_cfg(config)
        runner.register_hook(_BatchesThroughMemory())
        if start is not None:
            runner.register_hook(_StartFrom(start))
        runner.register_hook(_FiniteTraining(), priority='VERY_HIGH')
        _try_parts(runner, config)
    return runner


def _check_data(config: Config, part: str, model: PrunableRecognizer) -> None:
    """The videos of a list are there, and labels, collation and batches fit the model.

    Raises:
        ConfigError, DataError: they do not.
    """
    _check_classes(config, part, model.cls_head.num_classes)
    with explained(f'{part} of {config.filename} cannot be built'):
        dataset = DATASETS.build(config[part].dataset)
    check_videos(dataset)
    check_labels(dataset, model)
    _check_collation(part, config, dataset)
    if config[part].get('drop_last') and len(dataset) < config[part].batch_size:
        raise ConfigError(
            f'{part}: {len(dataset)} videos do not fill one batch of {config[part].batch_size}'
        )


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


class _FiniteTraining(Hook):
    """Ends a training that has run into NaN or infinity; mmengine goes on, and saves what is left.

    The loss is looked at after every iteration, where mmengine reads it for its log anyway; scores
    of a validation, and weights before they are saved: those of the last step meet no loss more.
    """

    def __init__(self) -> None:
        self.iteration = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.iteration = runner.iter + 1
        losses = {
            k: torch.as_tensor(value).item() for k, value in (outputs or {}).items() if 'loss' in k
        }
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NotFiniteError(f'{name} is {value} in {self._where(runner)}')

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for sample in outputs or ():
            scores = getattr(sample, 'pred_score', None)
            if scores is not None and not scores.isfinite().all():
                name = getattr(sample, 'filename', f'batch {batch_idx + 1}')
                raise NotFiniteError(
                    f'{name}: scores in validation are not finite after {self._where(runner)}'
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        for name, weight in checkpoint['state_dict'].items():
            if torch.is_tensor(weight) and not weight.isfinite().all():
                raise NotFiniteError(
                    f'{name} holds NaN or infinity and is not saved, after {self._where(runner)}'
                )

    def _where(self, runner: Runner) -> str:
        """When it was, in which precision, and what may help."""
        wrapper = type(runner.optim_wrapper).__name__
        names = {'AmpOptimWrapper': 'fp16', 'BFloat16OptimWrapper': 'bf16'}
        precision = names.get(wrapper, 'fp32')
        other = '--amp bf16 or none, ' if precision == 'fp16' else ''
        return (
            f'iteration {self.iteration} ({precision}): {other}a lower learning rate or clip_grad '
            f'may help; earlier checkpoints are in {runner.work_dir}'
        )


def _check_classes(config: Config, part: str, num_classes: int) -> None:
    """Head, data set and what blends labels must count the same classes.

    Raises:
        ConfigError: one of them does not; names both numbers.
    """
    found = {f'{part}.dataset': config[part].dataset.get('num_classes')}
    model = config.model.get('data_preprocessor') or config.get('data_preprocessor') or {}
    waiting = [model.get('blending')]
    while waiting:
        step = waiting.pop()
        if isinstance(step, list | tuple):
            waiting += step
        elif isinstance(step, dict):
            found[f'{step.get("type")} of blending'] = step.get('num_classes')
            waiting.append(step.get('augments'))
    for what, number in found.items():
        if number not in (None, num_classes):
            listed = config[part].dataset.get('ann_file')
            raise ConfigError(
                f'config {config.filename}: {what} has num_classes={number}, model.cls_head '
                f'{num_classes}: set both to the number of classes of {listed}'
            )


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
    last = Path(config.work_dir, 'last_checkpoint')
    if checkpoint is None and not last.exists():
        say(f'nothing to resume in {config.work_dir}: training starts anew')
        return
    if checkpoint is None and not last.read_text(encoding='utf-8').strip():
        # It is written after the checkpoint, which a full disk may still have held.
        found = sorted(last.parent.glob('*.pth'), key=lambda path: path.stat().st_mtime)
        checkpoint = str(found[-1]) if found else None
    config.resume, config.load_from = True, checkpoint


def _check_names(config: Config) -> None:
    """mmengine writes names of folder and config into its files, in the encoding of the locale."""
    encoding = locale.getpreferredencoding(False)
    for name in (str(config.work_dir), str(config.filename)):
        try:
            name.encode(encoding)
        except UnicodeEncodeError:
            raise ConfigError(
                f'{legible(name)!a} cannot be written in {encoding}, the encoding of the locale: '
                f'set PYTHONUTF8=1, or choose another name for --work-dir or config'
            ) from None


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
    if kind == 'Adafactor':
        register_adafactor()
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
    whole += [('auto_scale_lr', 'base_batch_size'), ('log_processor', 'window_size')]
    whole += [('optim_wrapper', 'accumulative_counts')]
    for part, key in whole:
        value = (config.get(part) or {}).get(key)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f'{part}.{key} must be a whole number of at least 1, got {value!r}')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Autocast the forward pass to bfloat16; weights, gradients and steps stay float32.

    mmengine's AmpOptimWrapper refuses CPUs and scales the loss, which bfloat16, with the range of
    float32, does not need.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of forward passes."""
        device_type = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device_type, dtype=torch.bfloat16):
            yield
