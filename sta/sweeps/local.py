"""Elements on this machine, a few at once, through submitit's local executor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from submitit import LocalExecutor
from submitit.local.local import LocalJob

from .job import ElementJob
from .plan import Resources

UNLIMITED_MINUTES = 365 * 24 * 60
POLL_S = 0.2
STOP_S = 20.0


def run_locally(
    jobs: Sequence[ElementJob],
    resources: Resources,
    folder: Path,
    *,
    started: Callable[[ElementJob, str], None],
    ended: Callable[[ElementJob], None],
) -> None:
    """Run all jobs, as many at once as there may be; returns when the last one has ended.

    Args:
        jobs: of elements.
        resources: ``max_parallel`` defaults to 1; without a number of GPUs each gets one, where
            there are any.
        folder: of submitit's pickles and logs.
        started: told of a job, and of its id.
        ended: told of a job, however it ended.
    """
    gpus = resources.gpus_per_task
    if gpus is None:
        gpus = min(torch.cuda.device_count(), 1)
    slots: list[tuple[ElementJob, LocalJob] | None] = [None] * (resources.max_parallel or 1)
    waiting = list(jobs)
    _lead_to_this_package(jobs)
    try:
        while waiting or any(slots):
            for place, slot in enumerate(slots):
                if slot is not None and slot[1].done():
                    slots[place] = None
                    ended(slot[0])
                if slots[place] is None and waiting:
                    job = waiting.pop(0)
                    with _uninterrupted():
                        executor = _executor(folder, resources, gpus, place)
                        submitted = executor.submit_array([job])[0]
                    slots[place] = (job, submitted)
                    started(job, submitted.job_id)
            time.sleep(POLL_S)
    finally:  # interrupted: nothing is left running
        _stop([slot[1] for slot in filter(None, slots)])


def _stop(jobs: Sequence[LocalJob]) -> None:
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


def _lead_to_this_package(jobs: Sequence[ElementJob]) -> None:
    """Let submitit's processes find it, wherever they are started."""
    paths = [*(str(job.root) for job in jobs[:1]), os.environ.get('PYTHONPATH', '')]
    if paths[0] not in paths[-1].split(os.pathsep):
        os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))


def _executor(folder: Path, resources: Resources, gpus: int, place: int) -> LocalExecutor:
    executor = LocalExecutor(folder, max_num_timeout=100)
    executor.update_parameters(
        timeout_min=resources.minutes or UNLIMITED_MINUTES,
        gpus_per_node=gpus,
        visible_gpus=tuple(range(place * gpus, (place + 1) * gpus)),
        stderr_to_stdout=True,
    )
    return executor
