"""What runs on a node: tools/test.py for one element, watched, stopped and requeued.

Imports nothing heavy: the evaluation is a process of its own and does that itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from submitit import JobEnvironment
from submitit.core.utils import DelayedSubmission

from sta.atomic import write_text

STATUS, LOG = 'status.json', 'log.txt'
HEADLINE = '--- '  # of an attempt in the log
HEARTBEAT_S = 15.0
STOP_S = 20.0  # what a process gets to end on its own
GRACE_S = 600.0  # that SLURM may let pass between telling a job to end and ending it
_PR_SET_PDEATHSIG = 1


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
        write_text(folder / STATUS, json.dumps(asdict(self)) + '\n')


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


def log_end(folder: Path, lines: int = 6) -> list[str]:
    """The last lines that the last attempt of an element wrote."""
    try:
        with (folder / LOG).open('rb') as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 20_000, 0))
            text = file.read().decode('utf-8', 'replace')
    except OSError:
        return []
    said = [line.rstrip() for line in text.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(said) if line.startswith(HEADLINE)]
    return said[starts[-1] + 2 if starts else 0 :][-lines:]  # behind headline and command


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


class ElementFailedError(RuntimeError):
    """tools/test.py ended with another status than 0."""


class ElementJob:
    """Runs one element; submitit pickles it and calls it on the node.

    Args:
        name: of the element.
        command: that evaluates it, and goes on where it was cut off.
        folder: of the element.
        started_in: where the sweep was started; paths are relative to it.
        root: of the repository.
    """

    def __init__(
        self, *, name: str, command: list[str], folder: Path, started_in: Path, root: Path
    ) -> None:
        self.name = name
        self.command = command
        self.folder = folder
        self.started_in = started_in
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._status: Status | None = None
        self._was_told_to_end = False

    def __call__(self) -> None:
        """Evaluate what is not stored yet.

        Raises:
            ElementFailedError: for submitit, so that SLURM shows the job as failed.
        """
        os.chdir(self.started_in)
        signal.signal(signal.SIGTERM, self._told_to_end)
        where = self.folder
        where.mkdir(parents=True, exist_ok=True)
        self._status = status = _started(where)
        status.write(where)
        with (where / LOG).open('ab') as log:
            log.write(
                f'{HEADLINE}{time.strftime("%Y-%m-%d %H:%M:%S")}, attempt {status.attempt}, '
                f'job {status.job} on {status.host}, {status.stored_before} videos stored\n'
                f'$ {shlex.join(self.command)}\n'.encode()
            )
            log.flush()
            self._process = self._start(log)
            code = self._wait(self._process)
        self._end('ended', code)
        if self._was_told_to_end and status.executor == 'slurm':
            time.sleep(GRACE_S)  # to be requeued or killed; a job that ends now is never requeued
        if code:
            raise ElementFailedError(f'{self.name}: exit status {code}, see {where / LOG}')

    def checkpoint(self) -> DelayedSubmission:
        """Called on preemption and shortly before the time is up; the scores are on the disk."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            deadline = time.monotonic() + STOP_S
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            self._process.kill()
        self._end('requeued', None)
        return DelayedSubmission(self)

    def _told_to_end(self, *_: Any) -> None:
        """By scancel, at the beginning of a grace period, or by the local executor."""
        self._was_told_to_end = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_process': None, '_status': None}

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        # The folder of the repository, for an installation that is not editable.
        paths = [str(self.root), os.environ.get('PYTHONPATH', '')]
        # It is no task of srun: it finds its own port.
        own = {k: v for k, v in os.environ.items() if not k.startswith(('SUBMITIT_', 'SLURM_'))}
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**own, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
            preexec_fn=_end_with_parent,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        last = time.monotonic()
        # Not Popen.wait: it holds a lock that the handler of a signal would wait for.
        while (code := process.poll()) is None:
            time.sleep(0.2)
            if time.monotonic() - last > HEARTBEAT_S:
                last = time.monotonic()
                os.utime(self.folder / STATUS)
        return code

    def _end(self, event: str, code: int | None) -> None:
        if (said := self._status) is not None:
            ran_s = said.ran_s + time.time() - said.started
            replace(said, event=event, exit_status=code, ran_s=ran_s).write(self.folder)


def _started(folder: Path) -> Status:
    environment = JobEnvironment()
    before = read_status(folder)
    return Status(
        event='started',
        job=environment.job_id,
        executor=environment.cluster,
        host=socket.gethostname(),
        pid=os.getpid(),
        attempt=1 if before is None else before.attempt + 1,
        started=time.time(),
        stored_before=count_stored(folder),
        ran_s=0.0 if before is None else before.ran_s,
        process_start=process_start(os.getpid()) or '',
    )


def _end_with_parent() -> None:
    """In the child: whatever ends the job ends the evaluation, and the job's own signal does not.

    Otherwise the scores of a killed job would stay locked by what it left running.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
