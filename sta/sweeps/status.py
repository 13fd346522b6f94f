"""What the job of an element leaves in its folder; imports nothing heavy, every job does it."""

from __future__ import annotations

import json
import os
import sqlite3
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
    places: set[int] = set()
    for path in folder.glob('scores/*.sqlite'):
        uri = f'{path.resolve().as_uri()}?mode=ro&nolock=1'
        try:
            connection = sqlite3.connect(uri, uri=True)
            try:
                places.update(p for (p,) in connection.execute('SELECT place FROM videos'))
            finally:
                connection.close()
        except sqlite3.Error:  # in the middle of a batch
            pass
    return len(places)
