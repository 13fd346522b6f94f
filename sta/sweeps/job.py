"""What runs on a node: tools/test.py for one element, watched, stopped and requeued.

Imports nothing heavy: the evaluation is a process of its own and does that itself.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from submitit import JobEnvironment
from submitit.core.utils import DelayedSubmission

from .status import HEADLINE, LOG, STATUS, Status, count_stored, process_start, read_status

HEARTBEAT_S = 15.0
STOP_S = 20.0  # what a process gets to end on its own
GRACE_S = 600.0  # that SLURM may let pass between telling a job to end and ending it
_PR_SET_PDEATHSIG = 1


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
        self._process: subprocess.Popen | None = None
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
        self._status = _started(where)
        self._status.write(where)
        with (where / LOG).open('ab') as log:
            log.write(self._headline().encode())
            log.flush()
            self._process = self._start(log)
            code = self._wait()
        self._end('ended', code)
        if self._was_told_to_end and self._status.executor == 'slurm':
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

    def _start(self, log: Any) -> subprocess.Popen:
        # The folder of the repository, for an installation that is not editable.
        paths = [str(self.root), os.environ.get('PYTHONPATH', '')]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
        for name in [name for name in environment if name.startswith(('SUBMITIT_', 'SLURM_'))]:
            del environment[name]  # it is no task of srun: it finds its own port
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=_end_with_parent,
        )

    def _wait(self) -> int:
        last = time.monotonic()
        # Not Popen.wait: it holds a lock that the handler of a signal would wait for.
        while (code := self._process.poll()) is None:
            time.sleep(0.2)
            if time.monotonic() - last > HEARTBEAT_S:
                last = time.monotonic()
                os.utime(self.folder / STATUS)
        return code

    def _end(self, event: str, code: int | None) -> None:
        said = self._status
        if said is not None:
            values = {**said.__dict__, 'event': event, 'exit_status': code}
            values['ran_s'] = said.ran_s + time.time() - said.started
            Status(**values).write(self.folder)

    def _headline(self) -> str:
        said = self._status
        when = time.strftime('%Y-%m-%d %H:%M:%S')
        command = shlex.join(self.command)
        return (
            f'{HEADLINE}{when}, attempt {said.attempt}, job {said.job} on {said.host}, '
            f'{said.stored_before} videos stored\n$ {command}\n'
        )


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
