"""sweep.json: what a folder is a sweep of, so that two sweeps are never mixed in one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sta.atomic import write_text
from sta.engine.loop import Shard
from sta.environment import commit_of
from sta.errors import ConfigError, DataError

from .plan import Element, Evaluation, elements_of

MANIFEST = 'sweep.json'
VERSION = 1


@dataclass(frozen=True)
class Planned:
    """An evaluation with what was found of it before anything ran.

    Attributes:
        evaluation: config, checkpoint and options.
        num_videos: of its list.
        annotations: path of the list.
        batch_size: in which the list is cut.
        config_digest: of the config with all it inherits.
        checkpoint_digest: of the size, the beginning and the end of the files.
    """

    evaluation: Evaluation
    num_videos: int
    annotations: str | None
    batch_size: int
    config_digest: str
    checkpoint_digest: str

    def videos_of(self, shard: Shard) -> int:
        """How many videos of the list a shard holds."""
        starts = range(0, self.num_videos, self.batch_size)[shard.number - 1 :: shard.count]
        return sum(min(self.batch_size, self.num_videos - start) for start in starts)


@dataclass(frozen=True)
class Manifest:
    """What sweep.json holds.

    Attributes:
        name: of the sweep.
        planned: its evaluations.
        facts: command, commit, folder it was started in, time.
    """

    name: str
    planned: tuple[Planned, ...]
    facts: Mapping[str, Any]

    def elements(self, folder: Path) -> list[tuple[Element, int]]:
        """Every element with the number of its videos."""
        by_name = {one.evaluation.name: one for one in self.planned}
        elements = elements_of([one.evaluation for one in self.planned], folder)
        return [
            (element, by_name[element.evaluation.name].videos_of(element.shard))
            for element in elements
        ]


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write sweep.json, with the exact command of every element."""
    commands = {element.name: element.typed() for element, _ in manifest.elements(folder)}
    content = {'version': VERSION, **asdict(manifest), 'commands': commands}
    write_text(folder / MANIFEST, json.dumps(content, indent=2, default=str) + '\n')


def read_manifest(folder: Path) -> Manifest:
    """What a folder is a sweep of.

    Raises:
        DataError: no such folder, not one of tools/sweep.py, or a damaged sweep.json.
    """
    path = Path(folder) / MANIFEST
    if not Path(folder).is_dir():
        raise DataError(f'{folder} is not a folder: give one that tools/sweep.py wrote')
    if not path.is_file():
        raise DataError(f'{folder} holds no {MANIFEST}: give a folder that tools/sweep.py wrote')
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        if found['version'] != VERSION:
            raise ValueError(f'version {found["version"]}, this is {VERSION}')
        return Manifest(
            found['name'],
            tuple(_planned(one) for one in found['planned']),
            dict(found['facts']),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise DataError(f'{path} is damaged or not from tools/sweep.py: {reason}') from None


def check_same(folder: Path, planned: Sequence[Planned]) -> None:
    """Refuse a folder that holds another sweep, or other files than a sweep.

    Raises:
        ConfigError: says in what they differ.
        DataError: a damaged sweep.json.
    """
    if not (folder / MANIFEST).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f'{folder} is not empty and no sweep: choose another --sweep-dir')
        return
    older = {one.evaluation.name: one for one in read_manifest(folder).planned}
    newer = {one.evaluation.name: one for one in planned}
    other = list(older.keys() ^ newer.keys())
    differing = ['evaluations (' + ', '.join(sorted(other)) + ')'] if other else []
    for name in newer.keys() & older.keys():
        one, two = ({**asdict(p), **asdict(p.evaluation)} for p in (older[name], newer[name]))
        one.pop('evaluation'), two.pop('evaluation')
        for key in one:
            if json.dumps(one[key]) != json.dumps(two[key]):
                what = key.replace('_digest', ' (its content)').replace('_', ' ')
                differing.append(f'{what} of {name}')
    if differing:
        raise ConfigError(
            f'{folder} holds another sweep, with other {", ".join(differing[:4])}: choose another '
            f'--sweep-dir'
        )


def facts_of(command: str, root: Path) -> dict[str, Any]:
    """How a sweep was started.

    Args:
        command: as typed.
        root: of the repository.
    """
    return {
        'command': command,
        'commit': commit_of(root),
        'started_in': str(Path.cwd()),
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


def digest_of_files(path: Path) -> str:
    """Of a checkpoint, cheaply: names, sizes, first and last megabyte.

    Raises:
        ConfigError: it does not exist.
    """
    files = [path] if path.is_file() else sorted(p for p in path.glob('*') if p.is_file())
    if not files:
        raise ConfigError(f'checkpoint {path} does not exist')
    digest, end = hashlib.sha256(), 1 << 20
    for file in files:
        size = file.stat().st_size
        digest.update(f'{size} '.encode())
        with file.open('rb') as content:
            digest.update(content.read(end))
            content.seek(max(size - end, 0))
            digest.update(content.read(end))
    return digest.hexdigest()[:16]


def _planned(found: dict[str, Any]) -> Planned:
    evaluation = dict(found['evaluation'])
    evaluation['options'] = tuple(evaluation['options'])
    return Planned(**{**found, 'evaluation': Evaluation(**evaluation)})
