"""What a folder is a sweep of, which jobs were submitted for it, and how far they are."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sta.atomic import write_text
from sta.engine.loop import Shard
from sta.errors import ConfigError, DataError

from .job import STATUS, Status, count_stored, log_end, process_start, read_status
from .plan import Element, Evaluation

MANIFEST = 'sweep.json'
VERSION = 1
SUBMISSIONS = 'submissions'
# A job whose file is older is dead: network file systems may show files a minute late.
SILENCE_S = 180.0
DONE, RUNNING, PENDING, FAILED = 'done', 'running', 'pending', 'failed'
NOT_SUBMITTED = 'not submitted'


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

    def elements(self, folder: Path) -> list[Element]:
        """Shard by shard; ``folder`` is that of the sweep."""
        one, found = self.evaluation, []
        for number in range(1, one.shards + 1):
            starts = range(0, self.num_videos, self.batch_size)[number - 1 :: one.shards]
            videos = sum(min(self.batch_size, self.num_videos - start) for start in starts)
            where = folder / 'elements' / one.name / f'{number}of{one.shards}'
            found.append(Element(one, Shard(number, one.shards), where, videos))
        return found


@dataclass(frozen=True)
class Manifest:
    """What sweep.json holds: what a folder is a sweep of, so that two are never mixed in one.

    Attributes:
        name: of the sweep.
        planned: its evaluations.
        facts: command, commit, folder it was started in, time.
    """

    name: str
    planned: tuple[Planned, ...]
    facts: Mapping[str, Any]

    def elements(self, folder: Path) -> list[Element]:
        """Of all evaluations; ``folder`` is that of the sweep."""
        return [element for one in self.planned for element in one.elements(folder)]

    def write(self, folder: Path) -> None:
        """Write sweep.json, with the exact command of every element."""
        commands = {element.name: element.typed() for element in self.elements(folder)}
        content = {'version': VERSION, **asdict(self), 'commands': commands}
        write_text(folder / MANIFEST, json.dumps(content, indent=2, default=str) + '\n')

    def check_same(self, folder: Path) -> None:
        """Refuse a folder that holds another sweep, or other files than a sweep.

        Raises:
            ConfigError: says in what they differ.
            DataError: a damaged sweep.json.
        """
        if not (folder / MANIFEST).exists():
            if folder.is_dir() and any(folder.iterdir()):
                raise ConfigError(f'{folder} is not empty and no sweep: choose another --sweep-dir')
            return
        older, newer = (
            {one.evaluation.name: _compared(one) for one in planned}
            for planned in (read_manifest(folder).planned, self.planned)
        )
        other = ', '.join(sorted(older.keys() ^ newer.keys()))
        differing = [f'evaluations ({other})'] if other else []
        for name in sorted(newer.keys() & older.keys()):
            for what, value in newer[name].items():
                if older[name][what] != value:
                    differing.append(f'{what} of {name}')
        if differing:
            raise ConfigError(
                f'{folder} holds another sweep, with other {", ".join(differing[:4])}: choose '
                f'another --sweep-dir'
            )


def _compared(one: Planned) -> dict[str, Any]:
    """What must be equal in one sweep, by what people call it."""
    found = {**asdict(one), **asdict(one.evaluation), 'options': vars(one.evaluation.parsed)}
    del found['evaluation']
    return {
        key.replace('_digest', ' (its content)').replace('_', ' '): value
        for key, value in found.items()
    }


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
        planned = []
        for one in found['planned']:
            said = one['evaluation']
            evaluation = Evaluation(**{**said, 'options': tuple(said['options'])})
            planned.append(Planned(**{**one, 'evaluation': evaluation}))
        return Manifest(found['name'], tuple(planned), dict(found['facts']))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise DataError(f'{path} is damaged or not from tools/sweep.py: {reason}') from None


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


class Submission:
    """What one start of tools/sweep.py submits, in a file of its own.

    Args:
        folder: of the sweep.
        executor: 'local' or 'slurm'.
        facts: command, commit, time and so on.
    """

    def __init__(self, folder: Path, executor: str, facts: Mapping[str, Any]) -> None:
        self._path = folder / SUBMISSIONS / f'{time.time_ns():020d}.json'
        self._facts = {'executor': executor, 'host': socket.gethostname(), **facts}
        self._jobs: dict[str, str] = {}

    def add(self, jobs: Mapping[str, str]) -> None:
        """Note jobs by the names of their elements; they are on the disk when this returns."""
        self._jobs.update(jobs)
        content = {**self._facts, 'jobs': self._jobs}
        write_text(self._path, json.dumps(content, indent=2) + '\n')


def read_submissions(folder: Path) -> dict[str, Submitted]:
    """The last job of every element that was ever submitted.

    Raises:
        DataError: a damaged file.
    """
    last: dict[str, Submitted] = {}
    for path in sorted((folder / SUBMISSIONS).glob('*.json')):
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
            for name, job in found['jobs'].items():
                last[name] = Submitted(found['executor'], str(job), found['host'])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f'{path} is damaged: {error!r}; without it its jobs are unknown'
            ) from None
    return last


def ask_slurm(*command: str) -> str | None:
    """What a command of SLURM prints; None where there is no such command, or no answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def read_queue() -> dict[str, str] | None:
    """State of the user's jobs in SLURM's queue; None where no queue answers."""
    said = ask_slurm('squeue', '-h', '-r', '-u', getpass.getuser(), '-o', '%i %T')
    if said is None:
        return None
    return dict(line.split(maxsplit=1) for line in said.splitlines() if ' ' in line)


@dataclass(frozen=True)
class ElementState:
    """What is known of an element.

    Attributes:
        element: of the sweep.
        state: 'done', 'running', 'pending' or 'failed'.
        stored: videos whose scores are on the disk.
        reason: why it failed, or what it waits for.
        seconds_left: while it runs and has scored anything.
        ran_s: seconds of all attempts.
        host: where it ran last.
        attempts: how often it was started.
        error: what a failed evaluation said last, its line on stderr; '' where it said nothing.
    """

    element: Element
    state: str
    stored: int
    reason: str = ''
    seconds_left: float | None = None
    ran_s: float = 0.0
    host: str = ''
    attempts: int = 0
    error: str = ''

    @property
    def videos(self) -> int:
        """Of the element."""
        return self.element.videos


def states_of(manifest: Manifest, folder: Path) -> tuple[ElementState, ...]:
    """What is known now of every element of the sweep in a folder.

    Raises:
        DataError: a damaged file of its submissions.
    """
    queue, submitted = read_queue(), read_submissions(folder)
    return tuple(
        state_of(element, queue, submitted.get(element.name))
        for element in manifest.elements(folder)
    )


def state_of(
    element: Element, queue: Mapping[str, str] | None, submitted: Submitted | None
) -> ElementState:
    """What is known of an element now: from its scores, from what its job left, from the queue.

    Args:
        element: of a sweep.
        queue: state in SLURM's queue by job; None where there is no queue to ask.
        submitted: its last job; None where it was never submitted.
    """
    stored, status = count_stored(element.folder), read_status(element.folder)
    state, reason = DONE, ''
    if stored < element.videos:
        state, reason = _judge(element, status, queue, submitted)
    if status is None:
        return ElementState(element, state, stored, reason)
    ran_s, left, error = status.ran_s, None, ''
    if state == RUNNING and status.event == 'started':
        ran_s += (runs := time.time() - status.started)
        new = stored - status.stored_before
        left = None if new < 1 else (element.videos - stored) * runs / new
    if state == FAILED and reason == _ending(status):
        lines = log_end(element.folder, 200)
        error = next((line for line in reversed(lines) if line.startswith('error: ')), '')
    return ElementState(
        element,
        state,
        stored,
        reason,
        seconds_left=left,
        ran_s=ran_s,
        host=status.host,
        attempts=status.attempt,
        error=error.removeprefix('error: '),
    )


def _judge(
    element: Element,
    status: Status | None,
    queue: Mapping[str, str] | None,
    submitted: Submitted | None,
) -> tuple[str, str]:
    """State and reason of an element that is not done."""
    asked = queue if submitted is not None and submitted.executor == 'slurm' else None
    queued = None if asked is None or submitted is None else asked.get(submitted.job)
    if queued in ('PENDING', 'REQUEUED', 'CONFIGURING', 'REQUEUE_HOLD', 'SPECIAL_EXIT'):
        return PENDING, 'queued' if queued == 'PENDING' else str(queued).lower()
    is_gone = queued is None if asked is not None else submitted is None or _has_ended(submitted)
    if status is None or submitted is not None and submitted.job != status.job:
        if submitted is None:
            return PENDING, NOT_SUBMITTED
        if is_gone:
            return FAILED, f'gone before it started, see jobs/{submitted.job}_0_log.out'
        return PENDING, 'starting' if queued else 'submitted'
    if status.event == 'requeued':
        return (FAILED, 'stopped, and not started again') if is_gone else (PENDING, 'requeued')
    if status.event == 'ended':
        return (FAILED, _ending(status)) if queued is None else (RUNNING, 'stopping')
    is_alive = queued is not None if asked is not None else _beats(status, element.folder)
    return (RUNNING, '') if is_alive else (FAILED, 'cancelled or killed')


def _ending(status: Status) -> str:
    code = status.exit_status
    return f'ended by signal {-code}' if code is not None and code < 0 else f'exit status {code}'


def _has_ended(submitted: Submitted) -> bool:
    """Whether a job is known not to be there any more, without a queue to ask."""
    local = submitted.executor == 'local' and submitted.host == socket.gethostname()
    return local and process_start(int(submitted.job)) is None


def _beats(status: Status, folder: Path) -> bool:
    """Whether the process that wrote a status lives: known on this host, else by its heartbeat."""
    if status.host == socket.gethostname():
        return process_start(status.pid) == status.process_start
    try:
        return time.time() - (folder / STATUS).stat().st_mtime < SILENCE_S
    except OSError:
        return False
