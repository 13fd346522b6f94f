"""Where elements run and what they get, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sta.errors import ConfigError

from .plan import EXECUTORS, Resources

DEFAULT_MINUTES = 240


def read_resources(said: Mapping[str, Any], where: str) -> Resources:
    """The resources of a sweep.

    Args:
        said: by the keys of a sweep file.
        where: it was said, for messages.

    Raises:
        ConfigError: names what is wrong.
    """
    executor = said.get('executor', 'local')
    if executor not in EXECUTORS:
        raise ConfigError(f'{where}: executor is local or slurm, got {executor!r}')
    if executor == 'slurm' and not isinstance(said.get('partition'), str):
        raise ConfigError(f'{where}: executor slurm needs a partition (`sinfo` lists them)')
    further = said.get('slurm', {})
    if not isinstance(further, dict):
        raise ConfigError(f'{where}: slurm must be options of sbatch, got {further!r}')
    gpus = said.get('gpus_per_task')
    if gpus is not None and (not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0):
        raise ConfigError(f'{where}: gpus_per_task must be 0 or more, got {gpus!r}')
    minutes = DEFAULT_MINUTES if executor == 'slurm' else None
    return Resources(
        executor=executor,
        partition=said.get('partition'),
        gpus_per_task=gpus,
        cpus_per_task=positive(said, 'cpus_per_task', where, None),
        minutes=parse_minutes(said['time'], where) if 'time' in said else minutes,
        max_parallel=positive(said, 'max_parallel', where, None),
        slurm={str(key).lstrip('-').replace('_', '-'): value for key, value in further.items()},
    )


def parse_minutes(value: Any, where: str) -> int:
    """Minutes of a time limit as sbatch takes it: 90, 4:00:00, 1-12, 1-12:30:00.

    YAML reads an unquoted 4:00:00 as a number of seconds; a whole number is minutes here.
    """
    text = str(value)
    found = re.fullmatch(r'(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?', text)
    if found is None:
        raise ConfigError(f'{where}: time is minutes or as 4:00:00 or 1-12:00:00, got {text!r}')
    days, *rest = found.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (numbers + [0, 0])[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # minutes[:seconds]
        hours, minutes, seconds = 0, *(numbers + [0])[:2]
    total = (int(days or 0) * 24 + hours) * 60 + minutes + (seconds + 59) // 60
    if total < 1:
        raise ConfigError(f'{where}: time must be at least a minute, got {text!r}')
    return total


def positive(said: Mapping[str, Any], key: str, where: str, default: Any) -> Any:
    """A whole number from 1 on, or the default where nothing is said.

    Raises:
        ConfigError: anything else.
    """
    value = said.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f'{where}: {key} must be at least 1, got {value!r}')
    return value
