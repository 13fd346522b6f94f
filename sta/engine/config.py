"""Load a config, with command-line options merged, and say clearly what is wrong with it."""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

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


class ConfigError(ValueError):
    """A config that cannot be used; the message names the file and what is wrong."""


def load_config(path: str, options: Sequence[str] = ()) -> Config:
    """Read a config file and merge options such as model.backbone.depth=6.

    Args:
        path: a Python config.
        options: key=value; values in Python syntax, anything else is text. Keys must exist, but for
            the last part.

    Raises:
        ConfigError: no such file, one that cannot be executed, a misspelt key, a malformed option.
    """
    if not os.path.isfile(path):
        what = 'is a folder' if os.path.isdir(path) else 'does not exist'
        raise ConfigError(f'config {path} {what}; {_neighbours(path)}')
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is Python: it can fail in any way
        raise ConfigError(f'config {path} cannot be read: {reason_of(error)}') from error
    try:
        config.merge_from_dict(dict(parse_option(option, config) for option in options))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f'--cfg-options {" ".join(options)}: {reason_of(error)}') from error
    _refuse_misspelt(config, path)
    return config


def home_of(config: Config, path: str) -> Path:
    """Where runs of a config are kept: its work_dir, or work_dirs/ and the name of its file."""
    return Path(config.get('work_dir') or Path('work_dirs', Path(path).stem))


def reason_of(error: BaseException) -> str:
    """What went wrong in one line; a foreign error is named by its type as well."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__ or error.__context__
    if isinstance(error, ImportError) and isinstance(cause, ImportError):
        return reason_of(cause)
    return f'{type(error).__name__}: {lines[0][:300] if lines else "no reason given"}'


def _neighbours(path: str) -> str:
    folder = os.path.dirname(path) or 'configs'
    if not os.path.isdir(folder):
        return f'there is no folder {folder} here: run from the root of the repository'
    names = sorted(name for name in os.listdir(folder) if name.endswith('.py'))
    close = difflib.get_close_matches(os.path.basename(path), names, n=3, cutoff=0.4)
    return f'{folder}/ holds {", ".join(close or names[:6]) or "no configs"}'


def _refuse_misspelt(config: Config, path: str) -> None:
    """mmengine takes any top-level key in silence: refuse the ones that look like a known one."""
    for key in config:
        if key in ('schedules', 'pruners', 'precision', 'max_views_per_forward'):
            raise ConfigError(f'config {path}: {key!r} belongs into test_cfg, here nobody reads it')
        close = difflib.get_close_matches(key, KNOWN_KEYS, n=1, cutoff=0.85)
        if close and key not in KNOWN_KEYS:
            raise ConfigError(f'config {path}: unknown key {key!r}, did you mean {close[0]!r}?')


def parse_option(option: str, config: Config) -> tuple[str, Any]:
    """Key and value of one option of :func:`load_config`.

    Raises:
        ConfigError: no key=value, or a key below one that the config does not have.
    """
    key, equals, text = option.partition('=')
    if not equals or not key:
        raise ConfigError(f'--cfg-options takes key=value, got {option!r}')
    here: Any = config
    for part in key.split('.')[:-1]:
        try:
            here = here[int(part)] if isinstance(here, list) else here[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(
                f'--cfg-options {option}: the config has no {part!r} in {key}'
            ) from None
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return key, text
