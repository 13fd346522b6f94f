"""Jobs in processes: every answer once, as it comes, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import time
from collections.abc import Callable

import pytest

from sta.datasets.preparation.scan import in_processes
from sta.errors import DataError, DeadProcessError


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize(('jobs', 'workers'), [(9, 1), (9, 3), (2, 5), (0, 2)])
def test_every_job_is_answered_once(jobs, workers) -> None:
    answers = list(in_processes(square, range(jobs), num_workers=workers))
    assert sorted(answers) == [number**2 for number in range(jobs)]
    assert multiprocessing.active_children() == []


def test_the_work_is_done_elsewhere() -> None:
    pids = set(in_processes(lambda _: os.getpid(), range(20), num_workers=2))
    assert os.getpid() not in pids and len(pids) == 2


def slow_first(number: int) -> int:
    time.sleep(0.5 if number == 0 else 0)
    return number


def test_a_slow_job_does_not_hold_up_the_others() -> None:
    answers = list(in_processes(slow_first, range(30), num_workers=2))
    assert answers[-1] == 0 and sorted(answers) == list(range(30))


def test_jobs_are_taken_as_they_are_needed() -> None:
    taken = []
    jobs = (taken.append(number) or number for number in range(100))
    answers = in_processes(square, jobs, num_workers=2)
    next(answers)
    assert len(taken) <= 4
    answers.close()


def test_closing_ends_the_workers_at_once() -> None:
    answers = in_processes(lambda number: time.sleep(60 * number), range(3), num_workers=3)
    assert next(answers) is None
    start = time.perf_counter()
    answers.close()
    assert time.perf_counter() - start < 5
    assert multiprocessing.active_children() == []


def test_an_interrupt_is_not_for_the_workers() -> None:
    def interrupted(number: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return number

    assert list(in_processes(interrupted, [7], num_workers=1)) == [7]


@pytest.mark.parametrize(
    ('death', 'how'),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGKILL), r'it was killed \(is memory short\?\)'),
        (lambda _: os.kill(os.getpid(), signal.SIGSEGV), r'it crashed \(SIGSEGV\)'),
        (lambda _: os._exit(3), 'it ended with status 3'),
    ],
)
def test_a_worker_that_dies_is_an_error(death: Callable[[int], None], how: str) -> None:
    with pytest.raises(DataError, match=f'^a worker process died: {how}; .* fewer --workers'):
        list(in_processes(death, [1], num_workers=1))
    assert multiprocessing.active_children() == []


def test_what_ends_all_is_said_by_the_worker() -> None:
    def refuse(job: int) -> int:
        raise (DeadProcessError if job else DataError)(f'job {job}')

    with pytest.raises(DataError, match='^job 0$'):
        list(in_processes(refuse, [0], num_workers=1))
    with pytest.raises(DataError, match='^job 1; .* fewer --workers'):
        list(in_processes(refuse, [1], num_workers=1))


def test_workers_do_not_outlive_a_parent_that_was_killed() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(reading)
        answers = in_processes(square, range(100), num_workers=3)
        for _ in range(6):
            next(answers)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    os.waitpid(parent, 0)
    assert select.select([reading], [], [], 5)[0], 'somebody still holds the pipe'
    assert os.read(reading, 1) == b''
    os.close(reading)
