"""A sweep as it is written, in YAML or on a command line: checked, and cut into elements."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from sta.engine.loop import WHOLE, Shard
from sta.errors import ConfigError, VariantError
from sta.pruning.variants import parse_pruner_text, parse_schedule_text
from sta.start import add_evaluation_options, find_path

EXECUTORS = ('local', 'slurm')
DEFAULT_MINUTES = 240  # with SLURM


class _OptionsParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message.removeprefix('argument --'))


_PARSER = _OptionsParser(add_help=False, allow_abbrev=False)
add_evaluation_options(_PARSER)
# Options of tools/test.py, for a whole sweep or for one of its evaluations.
OPTIONS = tuple(vars(_PARSER.parse_args([])))
EVALUATION_KEYS = ('name', 'config', 'checkpoint', 'shards', *OPTIONS)
RESOURCE_KEYS = ('executor', 'partition', 'gpus_per_task', 'cpus_per_task', 'max_parallel', 'slurm')
SWEEP_KEYS = (
    *('name', 'evaluations', 'configs', 'checkpoints', 'shards', 'processes'),
    *OPTIONS,
    *RESOURCE_KEYS,
    'time',
)


class _Kind(NamedTuple):
    """What the value of a key must be, as a check and in words."""

    fits: Callable[[Any], bool]
    right: str


def _at_least(least: int, right: str) -> _Kind:
    return _Kind(lambda value: type(value) is int and value >= least, right)  # True is an int, too


_POSITIVE = _at_least(1, 'must be at least 1')
_ENTRIES = _Kind(lambda value: value != [], 'must be a list with at least one entry')
_TEXT = _Kind(lambda value: isinstance(value, str), 'must be text')
# Of a key that is not listed, the parser of tools/test.py or what takes it says what is wrong.
_KINDS = {
    'evaluations': _Kind(lambda value: isinstance(value, list) and value != [], _ENTRIES.right),
    **dict.fromkeys(('configs', 'checkpoints'), _ENTRIES),
    **dict.fromkeys(('schedules', 'pruners', 'budget', 'cfg_options'), _ENTRIES),
    **dict.fromkeys(('config', 'checkpoint', 'partition'), _TEXT),
    **dict.fromkeys(('shards', 'processes', 'seeds', 'max_videos'), _POSITIVE),
    **dict.fromkeys(('cpus_per_task', 'max_parallel'), _POSITIVE),
    'gpus_per_task': _at_least(0, 'must be 0 or more'),
    'executor': _Kind(lambda value: value in EXECUTORS, f'is {" or ".join(EXECUTORS)}'),
    'slurm': _Kind(lambda value: isinstance(value, dict), 'must be options of sbatch'),
}


@dataclass(frozen=True)
class Evaluation:
    """A config with a checkpoint; all its variants are evaluated in one pass over the data.

    Attributes:
        name: unique in the sweep, and a name for a folder.
        config: path.
        checkpoint: path.
        options: of tools/test.py that change the scores, as typed.
        shards: elements it is cut into.
        processes: of each element.
    """

    name: str
    config: str
    checkpoint: str
    options: tuple[str, ...] = ()
    shards: int = 1
    processes: int = 1

    @property
    def parsed(self) -> argparse.Namespace:
        """Its options as tools/test.py understands them.

        Raises:
            ConfigError: it does not; the message begins with the option.
        """
        return _PARSER.parse_args(self.options)


@dataclass(frozen=True)
class Resources:
    """What an element gets, and where it runs.

    Attributes:
        executor: 'local' or 'slurm'.
        partition: of SLURM.
        gpus_per_task: of an element; None asks the partition or the machine.
        cpus_per_task: of an element.
        minutes: time limit of an attempt; None for none.
        max_parallel: elements that run at once.
        slurm: further options of sbatch, without dashes.
    """

    executor: str = 'local'
    partition: str | None = None
    gpus_per_task: int | None = None
    cpus_per_task: int | None = None
    minutes: int | None = None
    max_parallel: int | None = None
    slurm: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """Everything a command line or a YAML file asks for.

    Attributes:
        name: of the folder, if none is given.
        evaluations: in the order of the tables.
        resources: where and how they run.
    """

    name: str
    evaluations: tuple[Evaluation, ...]
    resources: Resources


@dataclass(frozen=True)
class Element:
    """One job: a shard of an evaluation.

    Attributes:
        evaluation: what is evaluated.
        shard: the part of its list.
        folder: where it writes.
        videos: how many the shard holds.
    """

    evaluation: Evaluation
    shard: Shard
    folder: Path
    videos: int

    @property
    def name(self) -> str:
        """'vit', or 'vit 2/4' where there are several shards."""
        evaluation = self.evaluation.name
        return evaluation if self.shard == WHOLE else f'{evaluation} {self.shard}'

    def command(self, tool: Path, python: str = sys.executable) -> list[str]:
        """The words that run it.

        Args:
            tool: tools/test.py.
            python: an interpreter.
        """
        one, words = self.evaluation, [python]
        if one.processes > 1:
            # Alone on its node, so torch may look for a free port itself.
            words += ['-m', 'torch.distributed.run', '--standalone']
            words += ['--nproc_per_node', str(one.processes)]
        words += [str(tool), one.config, one.checkpoint, *one.options]
        words += ['--work-dir', str(self.folder)]
        words += [] if self.shard == WHOLE else ['--shard', str(self.shard)]
        return words + ([] if one.processes == 1 else ['--launcher', 'pytorch'])

    def typed(self) -> str:
        """The command to run it again by hand, from here."""
        return shlex.join(self.command(Path(find_path('tools/test.py')), 'python'))


def read_sweep(path: Path | None, typed: Mapping[str, Any]) -> Sweep:
    """A sweep of a file, of a command line, or of a file with some words changed.

    Args:
        path: YAML; None for none.
        typed: by the keys of SWEEP_KEYS; None and empty lists say nothing.

    Raises:
        ConfigError, VariantError: names the file, the key, the value, and what would do.
    """
    said = {} if path is None else _load_yaml(path)
    where = 'the command line' if path is None else str(path)
    typed = {key: value for key, value in typed.items() if value not in (None, [])}
    if 'configs' in typed or 'checkpoints' in typed:
        said.pop('evaluations', None)
    said = {**said, **typed}
    _check(said, SWEEP_KEYS, where)
    resources = _resources(said, where)
    processes = said.get('processes') or max(resources.gpus_per_task or 1, 1)
    evaluations = tuple(
        _evaluation(one, said, processes, f'{where}: evaluation {number}')
        for number, one in enumerate(_named(_pairs(said, where)), start=1)
    )
    names = [one.name for one in evaluations]
    name = str(said.get('name') or (path.stem if path else '+'.join(names)[:60]))
    for one in (*names, name):
        if re.fullmatch(r'[\w+=,@%-][\w.+=,@%-]*', one) is None:
            raise ConfigError(f'{where}: name {one!r} is no name for a folder')
        if names.count(one) > 1:
            raise ConfigError(f'{where}: two evaluations are called {one!r}: give one a name')
    return Sweep(name, evaluations, resources)


class _Loader(yaml.SafeLoader):
    """Plain values only, nothing of which is run; 4:00:00 stays as it is written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(':int')]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:int', re.compile(r'^[-+]?\d+$'), list('-+0123456789')
)


def _load_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a file."""
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise ConfigError(f'sweep {path} {what}; sweeps are YAML files such as those in sweeps/')
    try:
        said = yaml.load(path.read_text(encoding='utf-8'), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'sweep {path} is no YAML: {" ".join(str(error).split())}') from None
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise ConfigError(f'sweep {path} must be keys and values, got {type(said).__name__}')
    return said


def _check(said: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key, value in said.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f'did you mean {close[0]!r}?' if close else f'there are {", ".join(known)}'
            raise ConfigError(f'{where}: unknown key {key!r}; {hint}')
        if value is not None and key in _KINDS and not _KINDS[key].fits(value):
            raise ConfigError(f'{where}: {key} {_KINDS[key].right}, got {value!r}')


def _resources(said: Mapping[str, Any], where: str) -> Resources:
    given = {key: said[key] for key in RESOURCE_KEYS if said.get(key) is not None}
    minutes = None if said.get('time') is None else parse_minutes(said['time'], where)
    if given.get('executor') == 'slurm':
        minutes = minutes or DEFAULT_MINUTES
        if 'partition' not in given:
            raise ConfigError(f'{where}: executor slurm needs a partition (`sinfo` lists them)')
    options = given.pop('slurm', {})
    slurm = {str(key).lstrip('-').replace('_', '-'): value for key, value in options.items()}
    return Resources(**given, minutes=minutes, slurm=slurm)


def parse_minutes(value: Any, where: str) -> int:
    """Minutes of a time limit as sbatch takes it: 90, 4:00:00, 1-12, 1-12:30:00.

    Raises:
        ConfigError: anything else, or less than a minute; says where it was said.
    """
    found = re.fullmatch(r'(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?', str(value))
    if found is None:
        raise ConfigError(f'{where}: time is minutes or as 4:00:00 or 1-12:00:00, got {value!r}')
    days, *rest = found.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is None and len(numbers) < 3:  # minutes[:seconds]; the others begin with hours
        numbers.insert(0, 0)
    hours, minutes, seconds = (numbers + [0, 0])[:3]
    total = (int(days or 0) * 24 + hours) * 60 + minutes + (seconds + 59) // 60
    if total < 1:
        raise ConfigError(f'{where}: time must be at least a minute, got {value!r}')
    return total


def _pairs(said: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """What is to be evaluated, as dicts."""
    if said.get('evaluations') is not None:
        for number, one in enumerate(said['evaluations'], start=1):
            if not isinstance(one, dict):
                raise ConfigError(
                    f'{where}: evaluation {number} must have config and checkpoint, got {one!r}'
                )
        return list(said['evaluations'])
    configs, checkpoints = _words(said, 'configs'), _words(said, 'checkpoints')
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
    named: list[Mapping[str, Any]] = []
    for one in pairs:
        parts = [str(one.get('config'))]
        parts += [str(one.get('checkpoint'))] if configs.count(one.get('config')) > 1 else []
        named.append({'name': '-'.join(Path(part).stem for part in parts), **one})
    return named


def _evaluation(
    one: Mapping[str, Any], common: Mapping[str, Any], processes: int, where: str
) -> Evaluation:
    _check(one, EVALUATION_KEYS, where)
    for key, named in (('config', ''), ('checkpoint', f' ({one["name"]})')):
        if one.get(key) is None:
            raise ConfigError(f'{where} has no {key}{named}')
    options = {**{key: common.get(key) for key in (*OPTIONS, 'shards')}, **one}
    for own, other in (('schedules', 'budget'), ('budget', 'schedules')):
        if own in one and other not in one:
            options[other] = None
    words: list[str] = []
    for key in OPTIONS:
        if options.get(key) is not None:
            words += ['--' + key.replace('_', '-'), *_words(options, key)]
    found = Evaluation(
        name=str(one['name']),
        config=find_path(one['config']),
        checkpoint=find_path(one['checkpoint']),
        options=tuple(words),
        shards=options['shards'] or 1,
        processes=processes,
    )
    _check_options(found, where)
    return found


def _words(said: Mapping[str, Any], key: str) -> list[str]:
    """A list as words of a command line; one value is a list of one, stages become Python."""
    value = said.get(key)
    values = [] if value is None else value if isinstance(value, list) else [value]
    return [
        ','.join(map(str, one))
        if isinstance(one, list) and one and all(isinstance(drop, int) for drop in one)
        else str(one)
        for one in values
    ]


def _check_options(one: Evaluation, where: str) -> None:
    try:
        parsed = one.parsed
        for text in parsed.schedules or ():
            parse_schedule_text(text)
        for text in parsed.pruners or ():
            parse_pruner_text(text)
    except (ConfigError, VariantError) as error:
        raise type(error)(f'{where}: {error}') from None
    for share in parsed.budget or ():
        if not 0 < share <= 1:
            raise ConfigError(f'{where}: budget is shares such as 0.8 0.6, got {share:g}')
