"""Which job runs which element: a file per start of tools/sweep.py, and SLURM's queue."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sta.atomic import write_text
from sta.errors import DataError

FOLDER = 'submissions'


class Submitted(NamedTuple):
    """A job.

    Attributes:
        executor: 'local' or 'slurm'.
        job: '123_4', or the process id of submitit's controller.
        host: where it was submitted.
    """

    executor: str
    job: str
    host: str


@dataclass
class Submission:
    """What one start of tools/sweep.py submitted.

    Attributes:
        path: the file it is written to.
        executor: 'local' or 'slurm'.
        facts: command, commit, time and so on.
        jobs: by name of the element.
    """

    path: Path
    executor: str
    facts: Mapping[str, Any]
    jobs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path, executor: str, facts: Mapping[str, Any]) -> Submission:
        """A new one of a sweep in ``folder``."""
        return cls(folder / FOLDER / f'{time.time_ns():020d}.json', executor, facts)

    def add(self, jobs: Mapping[str, str]) -> None:
        """Note jobs by the names of their elements; they are on the disk when this returns."""
        self.jobs.update(jobs)
        content = {
            'executor': self.executor,
            'host': socket.gethostname(),
            **self.facts,
            'jobs': self.jobs,
        }
        write_text(self.path, json.dumps(content, indent=2) + '\n')


def read_submissions(folder: Path) -> dict[str, Submitted]:
    """The last job of every element that was ever submitted.

    Raises:
        DataError: a damaged file.
    """
    last: dict[str, Submitted] = {}
    for path in sorted((folder / FOLDER).glob('*.json')):
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
            for name, job in found['jobs'].items():
                last[name] = Submitted(found['executor'], str(job), found['host'])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f'{path} is damaged: {error!r}; without it its jobs are unknown'
            ) from None
    return last


def read_queue() -> dict[str, str] | None:
    """State of the user's jobs in SLURM's queue; None where no queue answers."""
    if shutil.which('squeue') is None:
        return None
    command = ['squeue', '-h', '-r', '-u', getpass.getuser(), '-o', '%i %T']
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode:
        return None
    return dict(line.split(maxsplit=1) for line in found.stdout.splitlines() if ' ' in line)
