"""Load a config, with command-line options merged, and say clearly what is wrong with it."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from sta.datasets.annotations import OFFICIAL
from sta.errors import ConfigError
from sta.pruning.variants import literal
from sta.start import find_path

KNOWN_KEYS = (
    'auto_scale_lr',
    'cfg',
    'custom_hooks',
    'custom_imports',
    'data_preprocessor',
    'default_hooks',
    'default_scope',
    'env_cfg',
    'launcher',
    'load_from',
    'log_level',
    'log_processor',
    'model',
    'optim_wrapper',
    'param_scheduler',
    'pretrained',
    'randomness',
    'resume',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'train_cfg',
    'train_dataloader',
    'val_cfg',
    'val_dataloader',
    'val_evaluator',
    'vis_backends',
    'visualizer',
    'work_dir',
)


# Named in configs that a training run of an earlier version has written.
_MOVED = dict.fromkeys(
    ('sta.datasets.rand_augment', 'sta.datasets.repeated_augmentation'), 'sta.datasets.augmentation'
)
_DICT_KEYS = ('model', 'optim_wrapper', 'auto_scale_lr', 'default_hooks', 'randomness')
_COUNTS = ('clip_len', 'num_clips', 'num_crops')
_PATH_KEYS = ('ann_file', 'classes', 'load_from', 'pretrained')


def load_config(path: str, options: Sequence[str] = ()) -> Config:
    """Read a config file and merge options such as model.backbone.depth=6.

    Relative paths of what is read (lists, videos, class names, weights) are settled as
    docs/evaluate.md says: those of the project's own configs lead into the repository, all others
    are looked for in the current folder, then beside the config, then in the repository.

    Args:
        path: a Python config.
        options: key=value; values in Python syntax, anything else is text. Keys must exist, but for
            the last part.

    Raises:
        ConfigError: no such file, one that cannot be executed, a misspelt key, a malformed option.
    """
    path = find_path(path)
    if not os.path.isfile(path):
        what = 'is a folder' if os.path.isdir(path) else 'does not exist'
        raise ConfigError(f'config {path} {what}; {_neighbours(path)}')
    try:
        config = Config.fromfile(path, import_custom_modules=False)
        _import_modules(config)
    except (Exception, SystemExit) as error:  # a config is Python: it can fail in any way
        raise ConfigError(f'config {path} cannot be read: {reason_of(error)}') from error
    try:
        config.merge_from_dict(_merged(options, config))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f'--cfg-options {" ".join(options)}: {reason_of(error)}') from error
    _refuse_misspelt(config, path)
    _refuse_no_dicts(config, path)
    _settle_loading(config, path)
    seed = (config.get('randomness') or {}).get('seed')
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise ConfigError(
            f'config {path}: randomness.seed must be a whole number from 0 to {2**32 - 1}, got '
            f'{seed!r}'
        )
    try:
        _settle_paths(config, os.path.dirname(os.path.abspath(path)))
    except ConfigError as error:
        raise ConfigError(f'config {path}: {error}') from None
    return config


def _import_modules(config: Config) -> None:
    """Import what a config asks for; of an earlier version's modules, what they are part of now."""
    wanted = config.get('custom_imports')
    if wanted:
        names = [wanted['imports']] if isinstance(wanted['imports'], str) else wanted['imports']
        wanted['imports'] = list(dict.fromkeys(_MOVED.get(name, name) for name in names))
        import_modules_from_strings(**wanted)


def home_of(config: Config, path: str) -> Path:
    """Where runs of a config are kept: its work_dir, or work_dirs/ and the name of its file."""
    return Path(config.get('work_dir') or Path('work_dirs', Path(path).stem))


def _settle_paths(node: Any, folder: str) -> None:
    """Make paths of the project's configs plain, and find those of others; changes the config.

    Raises:
        ConfigError: a value is NaN, which every comparison would let pass.
    """
    for key, value in enumerate(node) if isinstance(node, list) else node.items():
        if isinstance(value, dict | list):
            _settle_paths(value, folder)
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f'{key} is NaN, which is no value of a setting')
        if not isinstance(value, str):
            continue
        if '/configs/' in value and '/../' in value and os.path.isabs(value):
            node[key] = _within(os.path.normpath(value))  # '{{ fileDirname }}/../data/...'
        elif key in _PATH_KEYS and value not in OFFICIAL:
            node[key] = find_path(value, folder)
    prefixes = None if isinstance(node, list) else node.get('data_prefix')
    if not isinstance(prefixes, dict):
        return
    for key, value in prefixes.items():
        prefixes[key] = find_path(value, folder) if isinstance(value, str) else value


def _within(path: str) -> str:
    """Relative to the current folder where it lies below it, as people would type it."""
    here = os.getcwd()
    return os.path.relpath(path, here) if path.startswith(os.path.join(here, '')) else path


def reason_of(error: BaseException) -> str:
    """What went wrong in one line; a foreign error is named by its type as well."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__ or error.__context__
    if isinstance(error, ImportError) and isinstance(cause, ImportError):
        return reason_of(cause)
    return f'{type(error).__name__}: {lines[0][:300] if lines else "no reason given"}'


def _neighbours(path: str) -> str:
    folder = find_path(os.path.dirname(path) or 'configs')
    if not os.path.isdir(folder):
        return f'there is no folder {folder} here'
    names = sorted(name for name in os.listdir(folder) if name.endswith('.py'))
    close = difflib.get_close_matches(os.path.basename(path), names, n=3, cutoff=0.4)
    return f'{folder}/ holds {", ".join(close or names[:6]) or "no configs"}'


def _refuse_misspelt(config: Config, path: str) -> None:
    """mmengine takes any top-level key in silence: refuse the ones that look like a known one."""
    for key in config:
        if key in ('schedules', 'pruners', 'precision', 'max_views_per_forward', 'on_nonfinite'):
            raise ConfigError(f'config {path}: {key!r} belongs into test_cfg, here nobody reads it')
        close = difflib.get_close_matches(key, KNOWN_KEYS, n=1, cutoff=0.85)
        if close and key not in KNOWN_KEYS:
            raise ConfigError(f'config {path}: unknown key {key!r}, did you mean {close[0]!r}?')


def _refuse_no_dicts(config: Config, path: str) -> None:
    """Parts that everything reads keys of; None stands for one that is not there."""
    parts = [key for key in config if key.endswith(('_cfg', '_dataloader')) or key in _DICT_KEYS]
    places = [(part, config[part]) for part in parts]
    for part in parts:
        below = config[part] if isinstance(config[part], dict) else {}
        inner = ('backbone', 'cls_head', 'optimizer', 'data_prefix')
        places += [(f'{part}.{key}', below[key]) for key in inner if key in below]
        dataset = below.get('dataset') or {}
        if not isinstance(dataset, dict):
            raise ConfigError(f'config {path}: {part}.dataset must be a dict, got {dataset!r}')
        places.append((f'{part}.dataset.data_prefix', dataset.get('data_prefix')))
        pipeline = dataset.get('pipeline', [{}])
        if not isinstance(pipeline, list) or not all(isinstance(s, dict) for s in pipeline or [0]):
            raise ConfigError(
                f'config {path}: {part}.dataset.pipeline must be a list of at least one '
                f'dict(type=..., ...), got {pipeline!r}'
            )
    scope = config.get('default_scope', 'mmaction')
    if not isinstance(scope, str):
        raise ConfigError(f'config {path}: default_scope must be a name, got {scope!r}')
    for place, value in places:
        if value is not None and not isinstance(value, dict):
            raise ConfigError(f'config {path}: {place} must be a dict, got {value!r}')


def _settle_loading(config: Config, path: str) -> None:
    """Refuse numbers that torch refuses late, or under which every video would count as broken."""
    for part in (key for key in config if key.endswith('_dataloader') and config[key]):
        loader = config[part]
        given = [('batch_size', 1, loader.get('batch_size'))]
        given.append(('num_workers', 0, loader.get('num_workers')))
        for place, step in enumerate((loader.get('dataset') or {}).get('pipeline', [])):
            given += [(f'dataset.pipeline.{place}.{key}', 1, step.get(key)) for key in _COUNTS]
        for key, least, value in given:
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (is_whole and value >= least):
                raise ConfigError(
                    f'config {path}: {part}.{key} must be a whole number of at least {least}, got '
                    f'{value!r}'
                )
        if not loader.get('num_workers'):  # torch refuses what speaks of workers without any
            without = {'persistent_workers': False, 'prefetch_factor': None}
            loader.update({key: value for key, value in without.items() if key in loader})


def _merged(options: Sequence[str], config: Config) -> dict[str, Any]:
    """Keys and values of all options; a dict takes the place of what is none."""
    found: dict[str, Any] = {}
    for option in options:
        key, value = parse_option(option, config)
        if key in found and found[key] != value:
            raise ConfigError(f'--cfg-options gives {key} twice: {found[key]!r} and {value!r}')
        found[key] = value
    for key, value in found.items():
        holder, last = _holder_of(key, config, key), key.rpartition('.')[2]
        if isinstance(value, dict) and last in holder and not isinstance(holder[last], dict):
            found[key] = {'_delete_': True, **value}
    return found


def _holder_of(key: str, config: Config, option: str) -> Any:
    """The dict or list that the last part of a dotted key belongs to."""
    here: Any = config
    for part in key.split('.')[:-1]:
        try:
            here = here[int(part)] if isinstance(here, list) else here[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(
                f'--cfg-options {option}: the config has no {part!r} in {key}'
            ) from None
    return here


def parse_option(option: str, config: Config) -> tuple[str, Any]:
    """Key and value of one option of :func:`load_config`.

    Raises:
        ConfigError: no key=value, or a key below one that the config does not have.
    """
    key, equals, text = option.partition('=')
    if not equals or not key:
        raise ConfigError(f'--cfg-options takes key=value, got {option!r}')
    _holder_of(key, config, option)
    if text.strip().lstrip('+-').lower() in ('nan', 'inf', 'infinity'):
        raise ConfigError(f'--cfg-options {option}: {text.strip()} is no value of a setting')
    try:
        return key, literal(text)
    except ValueError:
        return key, text
