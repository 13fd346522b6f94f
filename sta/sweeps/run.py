"""Start what is missing of a sweep, as one array of SLURM or on this machine; checked before."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from mmaction.registry import DATASETS
from mmengine.registry import init_default_scope
from submitit import Job, LocalExecutor, SlurmExecutor
from submitit.core.utils import FailedJobError

from sta.atomic import check_folder
from sta.engine.config import load_config
from sta.engine.loop import Shard
from sta.engine.session import build_model_of_shapes, check_variants, explained, say, variants_of
from sta.environment import ROOT, commit_of
from sta.errors import ConfigError
from sta.report.table import counted

from .job import ElementJob, log_end
from .plan import Element, Evaluation, Resources
from .state import (
    DONE,
    FAILED,
    NOT_SUBMITTED,
    Manifest,
    Planned,
    Submission,
    ask_slurm,
    read_submissions,
    state_of,
    states_of,
)

JOBS = 'jobs'  # what submitit writes
TOOL = ROOT / 'tools' / 'test.py'
# SLURM. An attempt that is out of time goes on from its scores, so there may be many.
MAX_TIMEOUTS = 100
# Before the end of the time or of the grace period: enough to stop and to be requeued.
SIGNAL_DELAY_S = 90
# This machine.
UNLIMITED_MINUTES = 365 * 24 * 60
POLL_S = 0.2
STOP_S = 20.0


def check_sweep_folder(folder: Path, executor: str) -> None:
    """Refuse a folder that jobs could not write to under its own name.

    Args:
        folder: of the sweep, made or not.
        executor: 'local' or 'slurm'.

    Raises:
        ConfigError: its path holds what submitit or sbatch fill in, or what no script can hold.
        OSError: it can neither be made nor written.
    """
    path = str(folder.absolute())
    # submitit replaces these four in paths of its own; sbatch takes any letter for something.
    filled_in = re.search('%' if executor == 'slurm' else '%[jtaA]', path)
    if filled_in:
        where = path[filled_in.start() :][:2]
        raise ConfigError(
            f'the folder of the sweep, {path}, holds {where!r}, which {executor} jobs fill in: '
            f'choose another --sweep-dir, without %'
        )
    if not path.isprintable():
        raise ConfigError(
            f'the folder of the sweep, {path!r}, holds characters that no job script can'
        )
    check_folder(folder, '--sweep-dir')


def plan(evaluations: Sequence[Evaluation]) -> tuple[Planned, ...]:
    """Read every config and list once, and refuse what could only fail later.

    Raises:
        ConfigError, DataError: a config, checkpoint or list that is not there or cannot be read;
            more shards than there are batches.
        PrunerError, ScheduleError, VariantError: a variant does not suit the model.
    """
    seen: dict[tuple[str, ...], tuple[int, str | None, int, str]] = {}
    planned = []
    for one in evaluations:
        key = (one.config, *one.options)
        if key not in seen:
            seen[key] = _look(one)
        num_videos, annotations, batch_size, digest = seen[key]
        try:
            Shard(1, one.shards).check(num_videos, batch_size)
        except ConfigError as error:
            raise ConfigError(f'{one.name}: {error}') from None
        weights = _digest_of_files(Path(one.checkpoint))
        planned.append(Planned(one, num_videos, annotations, batch_size, digest, weights))
    return tuple(planned)


def _look(one: Evaluation) -> tuple[int, str | None, int, str]:
    """Videos of the list, its path, videos of a batch, digest of the config."""
    options = one.parsed
    config = load_config(one.config, options.cfg_options)
    for part in ('test_cfg', 'test_dataloader'):
        if not isinstance(config.get(part), dict):
            raise ConfigError(f'config {one.config} defines no {part}')
    if not options.budget:
        variants = variants_of(config, schedules=options.schedules, pruners=options.pruners)
        check_variants(build_model_of_shapes(config), variants)
    text = json.dumps(config.to_dict(), sort_keys=True, default=repr)
    init_default_scope(config.get('default_scope', 'mmaction'))
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        num_videos = len(DATASETS.build(config.test_dataloader.dataset))
    return (
        num_videos if options.max_videos is None else min(num_videos, options.max_videos),
        config.test_dataloader.dataset.get('ann_file'),
        config.test_dataloader.get('batch_size', 1),
        hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _digest_of_files(path: Path) -> str:
    """Of a checkpoint, cheaply: names, sizes, first and last megabyte."""
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


def facts_of(command: str) -> dict[str, str | None]:
    """How a sweep is started; ``command`` as typed."""
    return {
        'command': command,
        'commit': commit_of(ROOT),
        'started_in': str(Path.cwd()),
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


@dataclass(frozen=True)
class Start:
    """A sweep about to be started.

    Attributes:
        manifest: what it is a sweep of.
        resources: where and how it runs.
        folder: of the sweep.
    """

    manifest: Manifest
    resources: Resources
    folder: Path

    def dry(self) -> None:
        """Print every job that would be started, and the script; nothing is written."""
        missing = self._missing()
        for element in missing:
            say(f'{element.name}: {element.typed()}')
        if missing and self.resources.executor == 'slurm':
            executor = _slurm_executor(self.manifest.name, self.resources, self.folder / JOBS)
            if len(missing) > 1:
                executor.parameters['map_count'] = len(missing)
            command = executor._submitit_command_str
            say('\n' + executor._make_submission_file_text(command, 'dry-run').rstrip())
        elements = self.manifest.elements(self.folder)
        videos = counted(sum(element.videos for element in elements), 'video')
        say(
            f'\ndry run: {counted(len(missing), "element")} of {len(elements)} would be started, '
            f'{videos} in all; nothing was submitted'
        )

    def run(self) -> int:
        """Start what is missing; with SLURM returns at once.

        Returns:
            Exit status: 1 where an element failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = self._missing()
        self.manifest.write(self.folder)
        if not missing:
            say(f'nothing is left to start in {self.folder}')
            return 0
        submission = Submission(self.folder, self.resources.executor, self.manifest.facts)
        start = self._submit if self.resources.executor == 'slurm' else self._run_locally
        return start(missing, submission)

    def _missing(self) -> list[Element]:
        """Elements that are neither done nor on their way; says how many of those there are."""
        self.manifest.check_same(self.folder)
        states = states_of(self.manifest, self.folder)
        missing = [s.element for s in states if s.state == FAILED or s.reason == NOT_SUBMITTED]
        done = sum(state.state == DONE for state in states)
        busy = len(states) - len(missing) - done
        if done or busy:
            say(f'{done} done before, {busy} running or queued, {len(missing)} to start')
        return missing

    def _submit(self, elements: Sequence[Element], submission: Submission) -> int:
        jobs = [_job(element) for element in elements]
        ids = _submit_array(jobs, self.manifest.name, self.resources, self.folder / JOBS)
        submission.add({job.name: id_ for job, id_ in zip(jobs, ids, strict=True)})
        span = ids[0] if len(ids) == 1 else f'{ids[0]} to {ids[-1]}'
        say(f'submitted {counted(len(jobs), "element")} as {span}')
        say(f'how far they are: python tools/collect.py {self.folder} --watch')
        return 0

    def _run_locally(self, elements: Sequence[Element], submission: Submission) -> int:
        numbers = {one.name: f'[{n}/{len(elements)}]' for n, one in enumerate(elements, start=1)}
        by_name = {one.name: one for one in elements}
        failed = 0

        def started(job: ElementJob, id_: str) -> None:
            submission.add({job.name: id_})
            say(f'{numbers[job.name]} {job.name}: started')

        def ended(job: ElementJob) -> None:
            nonlocal failed
            submitted = read_submissions(self.folder).get(job.name)
            state = state_of(by_name[job.name], None, submitted)
            line = f'{numbers[job.name]} {job.name}: {state.state}'
            if state.state != DONE:
                failed += 1
                line += f', {state.reason}: ' + ' '.join(log_end(job.folder, 1))
            say(line)

        jobs = [_job(element) for element in elements]
        run_locally(jobs, self.resources, self.folder / JOBS, started=started, ended=ended)
        if failed:
            say(f'{failed} of {len(jobs)} failed; the same command tries them again')
        say(f'tables and plots: python tools/collect.py {self.folder}')
        return 1 if failed else 0


def _job(element: Element) -> ElementJob:
    return ElementJob(
        name=element.name,
        command=element.command(TOOL),
        folder=element.folder,
        started_in=Path.cwd(),
        root=ROOT,
    )


class _AnywhereExecutor(SlurmExecutor):
    """Writes its script where there is no SLURM as well."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def _submit_array(
    jobs: Sequence[ElementJob], name: str, resources: Resources, folder: Path
) -> list[str]:
    """Submit all jobs as one array of SLURM, through submitit; gives their ids, '123_4'."""
    if shutil.which('sbatch') is None:
        raise ConfigError(
            'executor slurm: sbatch not found on this machine; start from a login node of the '
            'cluster, or take --executor local'
        )
    executor = _slurm_executor(name, resources, folder)
    try:
        with redirect_stderr(io.StringIO()):  # submitit repeats there what it raises
            return [job.job_id for job in executor.submit_array(jobs)]
    except FailedJobError as error:
        # What sbatch said, which submitit hands on with much around it.
        lines = [line.partition('error:')[2].strip() for line in str(error).splitlines()]
        reason = '; '.join(filter(None, lines)) or str(error)
        raise ConfigError(f'sbatch refused: {reason}') from None


def _slurm_executor(name: str, resources: Resources, folder: Path) -> SlurmExecutor:
    executor = _AnywhereExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    gpus = resources.gpus_per_task
    if gpus is None:
        found = ask_slurm('sinfo', '-h', '-p', str(resources.partition), '-o', '%G')
        gpus = int(found is None or 'gpu' in found)  # believed where SLURM cannot be asked
    # srun takes the processors from its own options, not from sbatch's.
    processors = resources.cpus_per_task
    settings = dict(
        job_name=name,
        partition=resources.partition,
        time=resources.minutes,
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=processors,
        gpus_per_node=gpus or None,
        srun_args=[f'--cpus-per-task={processors}'] if processors else None,
        array_parallelism=resources.max_parallel or 256,
        signal_delay_s=SIGNAL_DELAY_S,
        stderr_to_stdout=True,
        setup=[f'export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}'],
        additional_parameters={'requeue': True, **resources.slurm},
    )
    executor.update_parameters(**{key: v for key, v in settings.items() if v is not None})
    return executor


def run_locally(
    jobs: Sequence[ElementJob],
    resources: Resources,
    folder: Path,
    *,
    started: Callable[[ElementJob, str], None],
    ended: Callable[[ElementJob], None],
) -> None:
    """Run jobs through submitit's local executor; returns when the last one has ended.

    Args:
        jobs: of elements.
        resources: ``max_parallel``, how many run at once, defaults to 1; without a number of GPUs
            each gets one, where there are any.
        folder: of submitit's pickles and logs.
        started: told of a job, and of its id.
        ended: told of a job, however it ended.
    """
    gpus = resources.gpus_per_task
    if gpus is None:
        gpus = min(torch.cuda.device_count(), 1)
    slots: list[tuple[ElementJob, Job[None]] | None] = [None] * (resources.max_parallel or 1)
    waiting = list(jobs)
    paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    if str(ROOT) not in paths:  # submitit's processes are to find this package
        os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), *paths]))
    try:
        while waiting or any(slots):
            for place, slot in enumerate(slots):
                if slot is not None and slot[1].done():
                    slots[place] = None
                    ended(slot[0])
                if slots[place] is None and waiting:
                    job = waiting.pop(0)
                    with _uninterrupted():
                        executor = _local_executor(folder, resources, gpus, place)
                        submitted = executor.submit_array([job])[0]
                    slots[place] = (job, submitted)
                    started(job, submitted.job_id)
            time.sleep(POLL_S)
    finally:  # interrupted: nothing is left running
        _stop([slot[1] for slot in slots if slot is not None])


def _stop(jobs: Sequence[Job[None]]) -> None:
    """Tell jobs to end, and wait until they have; their scores are on the disk."""
    for job in jobs:
        with suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline and not all(job.done() for job in jobs):
        time.sleep(POLL_S)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that leave it to this one what Ctrl-C means; it tells them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _local_executor(folder: Path, resources: Resources, gpus: int, place: int) -> LocalExecutor:
    executor = LocalExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(
        timeout_min=resources.minutes or UNLIMITED_MINUTES,
        gpus_per_node=gpus,
        visible_gpus=tuple(range(place * gpus, (place + 1) * gpus)),
        stderr_to_stdout=True,
    )
    return executor
