"""From a config to a model with weights and a loop that is ready to run."""

from __future__ import annotations

import copy
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from sta.checkpoints import load_checkpoint
from sta.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    PrunerError,
    ScheduleError,
    StoreError,
    VariantError,
)
from sta.evaluation import ScoreStore
from sta.models.prunable import PrunableBackbone, PrunableRecognizer
from sta.pruning import Variant
from sta.pruning.variants import NO_DEFAULTS, Defaults, chosen_variants, expand_variants

from .config import reason_of
from .loop import WHOLE, Shard
from .run_folder import SCORES, RunFolder, fingerprint_of
from .scoring import check_on_nonfinite

# Read and digested within a second or two.
_LARGE_BYTES = 300_000_000
_OWN_ERRORS = (
    CheckpointError,
    ConfigError,
    DataError,
    PrunerError,
    ScheduleError,
    StoreError,
    VariantError,
)


def build_model(config: Config) -> PrunableRecognizer:
    """Build the recognizer of a config, with random weights.

    Raises:
        ConfigError: no model, or one that cannot be built; says why.
        ScheduleError: the backbone's schedule does not fit.
    """
    if 'model' not in config:
        raise ConfigError(f'config {config.filename} defines no model')
    init_default_scope(config.get('default_scope', 'mmaction'))
    with explained(f'the model of {config.filename} cannot be built'):
        backbone = MODELS.get(config.model.backbone.type)
        if backbone is not None and not issubclass(backbone, PrunableBackbone):
            raise ConfigError(
                f'the backbone of {config.filename} cannot drop tokens; use STAVisionTransformer '
                f'or STASwinTransformer3D'
            )
        model: PrunableRecognizer = MODELS.build(config.model)
    if not hasattr(getattr(model, 'cls_head', None), 'num_classes'):
        raise ConfigError(f'the model of {config.filename} has no cls_head with num_classes')
    return model


def variants_of(
    config: Config,
    *,
    schedules: Sequence[str] | None = None,
    pruners: Sequence[str] | None = None,
) -> list[Variant]:
    """Variants as typed, or where nothing was typed those of a config, named for its backbone.

    Raises:
        VariantError: see :func:`sta.pruning.chosen_variants`.
    """
    return chosen_variants(
        config.get('test_cfg') or {},
        schedules=schedules,
        pruners=pruners,
        defaults=defaults_of(config),
    )


def defaults_of(config: Config) -> Defaults:
    """What the backbone of a config assumes of pruners where nothing is said."""
    init_default_scope(config.get('default_scope', 'mmaction'))
    backbone = (config.get('model') or {}).get('backbone')
    kind = backbone.get('type') if isinstance(backbone, Mapping) else None
    known = MODELS.get(kind) if isinstance(kind, str) else kind
    return getattr(known, 'pruner_defaults', NO_DEFAULTS)


def build_model_of_shapes(config: Config) -> PrunableRecognizer:
    """Build the recognizer of a config on the meta device, for counting: a ViT-H takes no memory.

    Raises:
        ConfigError, ScheduleError: see :func:`build_model`.
    """
    config = copy.deepcopy(config)
    # Mixup draws from a distribution, which checks its parameters by their values.
    config.get('model', {}).get('data_preprocessor', {}).pop('blending', None)
    with torch.device('meta'):
        return build_model(config)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn any error of building things from a config into a ConfigError that says what failed."""
    try:
        yield
    except _OWN_ERRORS:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise ConfigError(f'{what}: {reason_of(error)}') from error
    except Exception as error:  # the host libraries raise whatever a wrong value leads to
        raise ConfigError(f'{what}: {reason_of(error)}') from error


def build_test_runner(
    config: Config,
    checkpoint: str | None,
    *,
    choose: Callable[[dict[str, str]], RunFolder] | None = None,
    retry_broken: bool = False,
    shard: Shard = WHOLE,
) -> Runner:
    """A runner whose test loop is ready: model on its device, weights loaded, data checked.

    Args:
        config: with model, test_dataloader and test_cfg.
        checkpoint: weights; None keeps the random ones and says so.
        choose: given the run's fingerprint, says where its scores are kept; called once weights and
            data are known to be good. None keeps scores in memory and needs work_dir in the config.
        retry_broken: decode stored videos again that could not be decoded.
        shard: the part of the list that is evaluated.

    Raises:
        CheckpointError, ConfigError, DataError, PrunerError, ScheduleError, StoreError,
        VariantError.
    """
    check_on_nonfinite((config.get('test_cfg') or {}).get('on_nonfinite', 'error'))
    # Weights may be large: whatever else can be wrong is looked at before they are read.
    model = build_model(config)
    dataset = _checked_videos(config, model, shard)
    variants = _checked_variants(config, model)
    if checkpoint is not None:
        say_what_takes_long(checkpoint)
        say(load_checkpoint(model, checkpoint))
    else:
        say('no checkpoint given: random weights, the accuracy means nothing')
    folder = None
    if choose is not None:
        precision = config.test_cfg.get('precision', 'fp32')
        fingerprint = fingerprint_of(config, model, dataset, variants, precision)
        if shard != WHOLE:
            fingerprint['shard'] = str(shard)
        folder = choose(fingerprint)
        config.work_dir = str(folder.path)
    runner = _test_runner(config, model, dataset)
    loop = runner.test_loop
    loop.retry_broken = retry_broken
    loop.shard = shard
    if folder is not None:
        loop.folder = folder  # whose lock must live as long as the loop
        loop.store = ScoreStore(
            Path(config.work_dir, SCORES),
            fingerprint,
            num_variants=len(variants),
            process=f'rank{runner.rank}of{runner.world_size}',
        )
    return runner


def _checked_videos(config: Config, model: PrunableRecognizer, shard: Shard) -> Any:
    """The test data set, whose videos are there, have labels of the model and fill the shards."""
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        dataset = DATASETS.build(config.test_dataloader.dataset)
    check_videos(dataset)
    check_labels(dataset, model)
    shard.check(len(dataset), config.test_dataloader.get('batch_size', 1))
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        Runner.build_dataloader({**config.test_dataloader, 'dataset': dataset})
    return dataset


def _test_runner(config: Config, model: PrunableRecognizer, dataset: Any) -> Runner:
    """mmengine's runner in the config's work_dir, with its test loop built."""
    Path(config.work_dir).mkdir(parents=True, exist_ok=True)
    with explained(f'config {config.filename} cannot be run'):
        runner = Runner(
            model=model,
            work_dir=config.work_dir,
            test_dataloader={**config.test_dataloader, 'dataset': dataset},
            test_cfg=config.test_cfg,
            test_evaluator=config.get('test_evaluator', []),
            env_cfg=config.get('env_cfg', dict(dist_cfg=dict(backend='gloo'))),
            default_scope=config.get('default_scope', 'mmaction'),
            randomness=config.get('randomness', dict(seed=0)),
            log_level='WARNING',
            cfg=config,
        )
        _ = runner.test_loop  # is built when it is first asked for
    return runner


def _checked_variants(config: Config, model: PrunableRecognizer) -> list[Variant]:
    """The variants of test_cfg; each is set on the backbone once, so that a misfit shows now."""
    test_cfg = config.test_cfg
    if test_cfg.get('type') != 'VariantTestLoop':
        raise ConfigError(
            f"test_cfg of {config.filename} must have type='VariantTestLoop', got "
            f'{test_cfg.get("type")!r}'
        )
    variants = expand_variants(
        test_cfg.get('schedules'), test_cfg.get('pruners'), model.backbone.pruner_defaults
    )
    check_variants(model, variants)
    return variants


def check_variants(model: PrunableRecognizer, variants: Sequence[Variant]) -> None:
    """Set each variant on the backbone once, so that a misfit shows now.

    Raises:
        PrunerError, ScheduleError: one does not suit the model.
    """
    for variant in variants:
        with model.backbone.using(variant):
            pass


def say(message: Any) -> None:
    """Print a line once, whatever the number of processes."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(message, flush=True)


def say_what_takes_long(checkpoint: str | os.PathLike[str]) -> None:
    """Name a checkpoint that takes a while to read; nothing is said of a small or missing one."""
    path = Path(checkpoint)
    files = path.iterdir() if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size >= _LARGE_BYTES:
        say(f'loading {checkpoint} ({size / 1e9:.1f} GB)')


def check_videos(dataset: Any) -> None:
    """Some videos may be missing where the data set skips them; all of them is a wrong folder.

    Raises:
        DataError: names the first of those missing.
    """
    missing = dataset.missing_files() if hasattr(dataset, 'missing_files') else []
    if missing and (dataset.on_broken == 'error' or len(missing) == len(dataset)):
        raise DataError(
            f'{len(missing)} of {len(dataset)} videos of {dataset.ann_file} are not on the disk, '
            f'the first is {missing[0]}; is data_prefix of the config right?'
        )


def check_labels(dataset: Any, model: PrunableRecognizer) -> None:
    """Refuse labels that the model has no class for.

    Raises:
        DataError: names the first such video.
    """
    num_classes = model.cls_head.num_classes
    for index in range(len(dataset)):
        video = dataset.get_data_info(index)
        if not 0 <= video['label'] < num_classes:
            raise DataError(
                f'{dataset.ann_file}: label {video["label"]} of {video["filename"]} is not among '
                f"the model's {num_classes} classes"
            )


def views_per_video(config: Config) -> int:
    """Temporal clips x spatial crops of the test pipeline; 1 where it says nothing."""
    views = 1
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    for step in dataset.get('pipeline') or []:
        crops = {'ShortSideCrops': 3, 'ThreeCrop': 3, 'TenCrop': 10}.get(step.get('type'), 1)
        views *= step.get('num_clips', 1) * step.get('num_crops', crops)
    return views
