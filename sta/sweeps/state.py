"""How far an element is: from its scores, from what its job left behind, and from the queue."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .plan import Element
from .status import HEADLINE, LOG, STATUS, Status, count_stored, process_start, read_status
from .submissions import Submitted

# A job whose file is older is dead: network file systems may show files a minute late.
SILENCE_S = 180.0
DONE, RUNNING, PENDING, FAILED = 'done', 'running', 'pending', 'failed'
NOT_SUBMITTED = 'not submitted'


@dataclass(frozen=True)
class ElementState:
    """What is known of an element.

    Attributes:
        element: of the sweep.
        state: 'done', 'running', 'pending' or 'failed'.
        stored: videos whose scores are on the disk.
        videos: of the element.
        seconds_left: while it runs and has scored anything.
        ran_s: seconds of all attempts.
        reason: why it failed, or what it waits for.
        host: where it ran last.
        attempts: how often it was started.
        error: what a failed evaluation said last, its line on stderr; '' where it said nothing.
    """

    element: Element
    state: str
    stored: int
    videos: int
    seconds_left: float | None = None
    ran_s: float = 0.0
    reason: str = ''
    host: str = ''
    attempts: int = 0
    error: str = ''

    def log_end(self, lines: int = 6) -> list[str]:
        """The last lines that its last attempt wrote."""
        try:
            with (self.element.folder / LOG).open('rb') as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 20_000, 0))
                text = file.read().decode('utf-8', 'replace')
        except OSError:
            return []
        said = [line.rstrip() for line in text.splitlines() if line.strip()]
        starts = [i for i, line in enumerate(said) if line.startswith(HEADLINE)]
        return said[starts[-1] + 2 if starts else 0 :][-lines:]  # behind headline and command

    def last_error(self) -> str:
        """The line that tools/test.py ended with, out of the log."""
        said = [line for line in self.log_end(lines=200) if line.startswith('error: ')]
        return said[-1].removeprefix('error: ') if said else ''


def state_of(
    element: Element, videos: int, queue: Mapping[str, str] | None, submitted: Submitted | None
) -> ElementState:
    """What is known of an element now.

    Args:
        element: of a sweep.
        videos: how many it has.
        queue: state in SLURM's queue by job; None where there is no queue to ask.
        submitted: its last job; None where it was never submitted.
    """
    job = submitted and submitted.job
    asked = queue is not None and submitted is not None and submitted.executor == 'slurm'
    queued = queue.get(job) if asked else None
    stored = count_stored(element.folder)
    status = read_status(element.folder)
    found = ElementState(element, PENDING, stored, videos)
    if status is not None:
        found = replace(found, ran_s=status.ran_s, host=status.host, attempts=status.attempt)
    if stored >= videos:
        return replace(found, state=DONE)
    if queued in ('PENDING', 'REQUEUED', 'CONFIGURING', 'REQUEUE_HOLD', 'SPECIAL_EXIT'):
        return replace(found, reason='queued' if queued == 'PENDING' else queued.lower())
    if status is None or job not in (None, status.job):
        return _not_started(found, submitted, asked, queued)
    if status.event == 'requeued':
        if _is_gone(submitted, asked, queued):
            return replace(found, state=FAILED, reason='stopped, and not started again')
        return replace(found, reason='requeued')
    if status.event == 'ended' and queued is not None:
        return replace(found, state=RUNNING, reason='stopping')
    if status.event == 'ended':
        return replace(
            found, state=FAILED, reason=_ending(status.exit_status), error=found.last_error()
        )
    if not is_alive(status, element.folder, asked, queued):
        return replace(found, state=FAILED, reason='cancelled or killed')
    return _running(found, status)


def _not_started(
    found: ElementState, submitted: Submitted | None, asked: bool, queued: str | None
) -> ElementState:
    if submitted is None:
        return replace(found, reason=NOT_SUBMITTED)
    if _is_gone(submitted, asked, queued):
        reason = f'gone before it started, see jobs/{submitted.job}_0_log.out'
        return replace(found, state=FAILED, reason=reason)
    return replace(found, reason='starting' if queued else 'submitted')


def _is_gone(submitted: Submitted | None, asked: bool, queued: str | None) -> bool:
    """Whether a job is known not to be there any more."""
    if submitted is None or asked:
        return queued is None
    local = submitted.executor == 'local' and submitted.host == socket.gethostname()
    return local and process_start(int(submitted.job)) is None


def _running(found: ElementState, status: Status) -> ElementState:
    ran_s = time.time() - status.started
    new = found.stored - status.stored_before
    left = None if new < 1 else (found.videos - found.stored) * ran_s / new
    return replace(found, state=RUNNING, seconds_left=left, ran_s=status.ran_s + ran_s)


def _ending(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        return f'ended by signal {-exit_status}'
    return f'exit status {exit_status}'


def is_alive(status: Status, folder: Path, asked: bool, queued: str | None) -> bool:
    """Whether the job that wrote a status still runs.

    Args:
        status: of a job that started.
        folder: of its element.
        asked: whether SLURM's queue was asked.
        queued: what it said of the job; None for nothing.
    """
    if asked:
        return queued is not None
    if status.host == socket.gethostname():
        return process_start(status.pid) == status.process_start
    try:
        return time.time() - (folder / STATUS).stat().st_mtime < SILENCE_S
    except OSError:
        return False
