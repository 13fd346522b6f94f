"""A sweep as it is written, in YAML or on a command line, checked word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sta.engine.scoring import ON_NONFINITE
from sta.errors import ConfigError
from sta.pruning.variants import parse_pruner_text, parse_schedule_text
from sta.start import find_path

from .plan import Evaluation, Sweep
from .resources import positive, read_resources
from .yaml_file import load_yaml

# Options of tools/test.py, for a whole sweep or for one of its evaluations.
OPTIONS = (
    'schedules',
    'pruners',
    'budget',
    'seeds',
    'amp',
    'on_nonfinite',
    'max_videos',
    'cfg_options',
)
EVALUATION_KEYS = ('name', 'config', 'checkpoint', 'shards', *OPTIONS)
RESOURCE_KEYS = (
    'executor',
    'partition',
    'gpus_per_task',
    'cpus_per_task',
    'time',
    'max_parallel',
    'slurm',
)
SWEEP_KEYS = (
    'name',
    'evaluations',
    'configs',
    'checkpoints',
    'shards',
    'processes',
    *OPTIONS,
    *RESOURCE_KEYS,
)


def read_sweep(path: Path | None, typed: Mapping[str, Any]) -> Sweep:
    """A sweep of a file, of a command line, or of a file with some words changed.

    Args:
        path: YAML; None for none.
        typed: by the keys of SWEEP_KEYS; None and empty lists say nothing.

    Raises:
        ConfigError, VariantError: names the file, the key, and what would do.
    """
    said = {} if path is None else load_yaml(path)
    where = 'the command line' if path is None else str(path)
    typed = {key: value for key, value in typed.items() if value not in (None, [])}
    if 'configs' in typed or 'checkpoints' in typed:
        said.pop('evaluations', None)
    said = {**said, **typed}
    _check_keys(said, SWEEP_KEYS, where)
    resources = read_resources(said, where)
    processes = positive(said, 'processes', where, max(resources.gpus_per_task or 1, 1))
    pairs = _named(_pairs(said, where))
    evaluations = [
        _evaluation(one, said, processes, f'{where}: evaluation {number}')
        for number, one in enumerate(pairs, start=1)
    ]
    _check_names(evaluations, where)
    name = said.get('name') or (path.stem if path else None) or _joined(evaluations)
    if not _is_folder_name(name):
        raise ConfigError(f'{where}: name {name!r} is no name for a folder')
    return Sweep(str(name), tuple(evaluations), resources)


def _check_keys(said: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in said:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f'did you mean {close[0]!r}?' if close else f'there are {", ".join(known)}'
            raise ConfigError(f'{where}: unknown key {key!r}; {hint}')


def _pairs(said: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """What is to be evaluated, as dicts."""
    if 'evaluations' in said:
        found = said['evaluations']
        if not isinstance(found, list) or not found:
            raise ConfigError(f'{where}: evaluations must be a list with at least one entry')
        for number, one in enumerate(found, start=1):
            if not isinstance(one, dict):
                raise ConfigError(
                    f'{where}: evaluation {number} must have config and checkpoint, got {one!r}'
                )
        return found
    configs, checkpoints = (_words(said, key, where) for key in ('configs', 'checkpoints'))
    if not configs:
        raise ConfigError(f'{where}: nothing to evaluate: give a sweep file, or configs')
    if len(configs) != len(checkpoints):
        raise ConfigError(
            f'{where}: {len(configs)} configs and {len(checkpoints)} checkpoints: every config '
            f'needs one, in the same order'
        )
    return [dict(config=c, checkpoint=k) for c, k in zip(configs, checkpoints, strict=True)]


def _named(pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Names after the configs; where one comes twice, after config and checkpoint."""
    configs = [one.get('config') for one in pairs if 'name' not in one]
    named = []
    for one in pairs:
        parts = [str(one.get('config'))]
        parts += [str(one.get('checkpoint'))] if configs.count(one.get('config')) > 1 else []
        named.append({'name': '-'.join(Path(part).stem for part in parts), **one})
    return named


def _evaluation(
    one: Mapping[str, Any], common: Mapping[str, Any], processes: int, where: str
) -> Evaluation:
    _check_keys(one, EVALUATION_KEYS, where)
    for key in ('config', 'checkpoint'):
        if not isinstance(one.get(key), str):
            raise ConfigError(f'{where} has no {key}' + _of(one))
    options = {**{key: common.get(key) for key in (*OPTIONS, 'shards')}, **one}
    if 'schedules' in one and 'budget' not in one:
        options['budget'] = None
    if 'budget' in one and 'schedules' not in one:
        options['schedules'] = None
    return Evaluation(
        name=str(one['name']),
        config=find_path(one['config']),
        checkpoint=find_path(one['checkpoint']),
        options=_as_typed(options, where),
        shards=positive(options, 'shards', where, 1),
        processes=processes,
    )


def _as_typed(options: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Options of tools/test.py."""
    words: list[str] = []
    for key in OPTIONS:
        if options.get(key) is None:
            continue
        flag, value = '--' + key.replace('_', '-'), options[key]
        if key in ('seeds', 'max_videos'):
            words += [flag, str(positive(options, key, where, 1))]
        elif key == 'amp':
            if value not in ('bf16', 'fp16'):
                raise ConfigError(f'{where}: amp is bf16 or fp16, got {value!r}')
            words += [flag, value]
        elif key == 'on_nonfinite':
            if value not in ON_NONFINITE:
                raise ConfigError(
                    f'{where}: on_nonfinite is {" or ".join(ON_NONFINITE)}, got {value!r}'
                )
            words += [flag, value]
        else:
            words += [flag, *_words(options, key, where)]
    for text in _words(options, 'schedules', where):
        parse_schedule_text(text)
    for text in _words(options, 'pruners', where):
        parse_pruner_text(text)
    if options.get('schedules') is not None and options.get('budget') is not None:
        raise ConfigError(f'{where}: schedules or budget, not both')
    for text in _words(options, 'budget', where):
        if not re.fullmatch(r'0?\.\d+|1(\.0*)?', text):
            raise ConfigError(f'{where}: budget is shares such as 0.8 0.6, got {text!r}')
    return tuple(words)


def _words(said: Mapping[str, Any], key: str, where: str) -> list[str]:
    """A list as words of a command line; one value is a list of one."""
    value = said.get(key)
    values = [] if value is None else value if isinstance(value, list) else [value]
    kinds = str | int | float | list | dict | (type(None) if key == 'schedules' else str)
    if value == [] or not all(isinstance(v, kinds) for v in values):
        raise ConfigError(f'{where}: {key} must be a list with at least one entry, got {value!r}')
    return [_word(value) for value in values]


def _word(value: Any) -> str:
    """As tools/test.py takes it; stages and settings become Python."""
    if isinstance(value, list) and value and all(isinstance(drop, int) for drop in value):
        return ','.join(map(str, value))
    return str(value)


def _check_names(evaluations: Sequence[Evaluation], where: str) -> None:
    names = [one.name for one in evaluations]
    for name in names:
        if not _is_folder_name(name):
            raise ConfigError(f'{where}: name {name!r} is no name for a folder')
        if names.count(name) > 1:
            raise ConfigError(f'{where}: two evaluations are called {name!r}: give one a name')


def _is_folder_name(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(r'[\w+=,@%-][\w.+=,@%-]*', name) is not None


def _joined(evaluations: Sequence[Evaluation]) -> str:
    return '+'.join(one.name for one in evaluations)[:60]


def _of(one: Mapping[str, Any]) -> str:
    named = next((str(one[key]) for key in ('name', 'config') if one.get(key)), '')
    return f' ({named})' if named else ''
