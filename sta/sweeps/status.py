"""What the job of an element leaves in its folder; imports nothing heavy, every job does it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STATUS, LOG = 'status.json', 'log.txt'
HEADLINE = '--- '  # of an attempt in the log


@dataclass(frozen=True)
class Status:
    """What a job leaves in the folder of its element.

    Attributes:
        event: 'started', 'ended' or 'requeued'.
        job: of submitit, '123_4' or a process id.
        executor: that runs it.
        host: where.
        pid: of the job there.
        attempt: how often it was started.
        started: seconds since the epoch.
        stored_before: videos that were stored then.
        exit_status: where it ended.
        ran_s: seconds of all attempts before this one.
        process_start: of the job's process, since its host was started; tells it from another one.
    """

    event: str
    job: str
    executor: str
    host: str
    pid: int
    attempt: int
    started: float
    stored_before: int
    exit_status: int | None = None
    ran_s: float = 0.0
    process_start: str = ''

    def write(self, folder: Path) -> None:
        """Replace status.json."""
        partial = folder / f'.{STATUS}.part'
        partial.write_text(json.dumps(asdict(self)) + '\n', encoding='utf-8')
        partial.replace(folder / STATUS)


def process_start(pid: int) -> str | None:
    """When a process of this machine was started, in ticks; '' where nobody says; None if gone."""
    if not os.path.isdir('/proc/self'):
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return ''
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else fields[19]


def read_status(folder: Path) -> Status | None:
    """What the last job of an element said; None for nothing, or nothing that can be read."""
    try:
        found: Any = json.loads((folder / STATUS).read_text(encoding='utf-8'))
        return Status(**found)
    except (OSError, ValueError, TypeError):
        return None


def count_stored(folder: Path) -> int:
    """Videos whose scores are on the disk; looks only, also while a job writes."""
    return len({place for path in folder.glob('scores/*.sqlite') for place in _places(path)})


def _places(path: Path) -> set[int]:
    """Of a store that may be in the middle of a batch, or was when its job was killed."""
    try:
        return _read_places(f'{path.resolve().as_uri()}?mode=ro&nolock=1')
    except sqlite3.Error:  # a journal lies beside it, and undoing it takes writing: in a copy
        pass
    try:
        with tempfile.TemporaryDirectory() as folder:
            for file in (path.with_name(f'{path.name}-journal'), path):
                if file.exists():
                    shutil.copyfile(file, Path(folder, file.name))
            return _read_places(Path(folder, path.name).as_uri())
    except (OSError, sqlite3.Error):
        return set()


def _read_places(uri: str) -> set[int]:
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return {place for (place,) in connection.execute('SELECT place FROM videos')}
