"""A guarded call that hangs, crashes or leaks harms nobody."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sta.datasets.guard import Guard, GuardError, answered, through_memory
from sta.errors import DeadProcessError


def answer(task: str, value: object = None) -> object:
    if task == 'echo':
        return value
    if task == 'pid':
        return os.getpid()
    if task == 'hang':  # in C, without Python ever being asked
        ctypes.CDLL(None).pause()
    if task == 'crash':
        ctypes.string_at(0)
    if task == 'exit':
        os._exit(3)
    if task == 'raise':
        raise RuntimeError('unexpected')
    if task == 'die':
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 'interrupt':  # which is for the parent to handle
        os.kill(os.getpid(), signal.SIGINT)
    return None


@pytest.fixture
def guard() -> Guard:
    return Guard(answer, time_limit_s=30)


@pytest.mark.parametrize(
    'value',
    [None, 'text', {'a': [1, 2.5]}, np.arange(6.0).reshape(2, 3), np.ones((3, 999, 999))],
)
def test_answers_come_back_whole(guard: Guard, value: object) -> None:
    for _ in range(2):
        np.testing.assert_equal(guard('echo', value), value)


def test_arrays_that_come_back_can_be_written_to(guard: Guard) -> None:
    found = guard('echo', np.zeros(5))
    found += 1
    assert found.sum() == 5


def test_the_work_is_done_in_one_other_process(guard: Guard) -> None:
    pids = {guard('pid') for _ in range(5)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_a_call_that_hangs_is_given_up_and_the_next_one_works() -> None:
    guard = Guard(answer, time_limit_s=0.5)
    start = time.monotonic()
    with pytest.raises(GuardError, match='^it was given up after 0.5 s$'):
        guard('hang')
    assert time.monotonic() - start < 10
    assert guard('echo', 7) == 7


def test_waiting_for_the_next_call_is_not_limited() -> None:
    guard = Guard(answer, time_limit_s=0.5)
    pid = guard('pid')
    time.sleep(0.8)
    assert guard('pid') == pid


def test_the_time_limit_is_of_each_call_not_of_all(guard: Guard) -> None:
    guard = Guard(lambda seconds: time.sleep(seconds), time_limit_s=1.0)
    for _ in range(4):
        guard(0.4)


@pytest.mark.parametrize(
    ('task', 'said'),
    [
        ('crash', r'the decoder crashed \(SIGSEGV\)'),
        ('exit', 'ended with status 3'),
        ('raise', 'ended with status 1'),
        ('die', r'was killed \(is memory short\?\)'),
    ],
)
def test_a_call_that_ends_the_process_is_told(guard: Guard, task: str, said: str) -> None:
    with pytest.raises(GuardError, match=said):
        guard(task)
    assert guard('echo', 7) == 7


@pytest.mark.parametrize('task', ['die', 'exit', 'crash'])
def test_processes_that_die_one_after_the_other_end_it(guard: Guard, task: str) -> None:
    """Six: two decoders on three videos in a row are not the fault of one video."""
    for _ in range(2):
        for _ in range(5):
            with pytest.raises(GuardError):
                guard(task)
        assert guard('echo', 7) == 7  # what goes well in between begins the count anew
    for _ in range(5):
        with pytest.raises(GuardError):
            guard(task)
    with pytest.raises(DeadProcessError, match='the last of 6 in a row'):
        guard(task)


def test_processes_that_are_too_slow_do_not() -> None:
    guard = Guard(answer, time_limit_s=0.05)
    for _ in range(7):
        with pytest.raises(GuardError, match='given up'):
            guard('hang')


def test_the_process_is_replaced_after_so_many_calls() -> None:
    guard = Guard(answer, time_limit_s=30, calls_per_process=3)
    pids = [guard('pid') for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_several_work_at_a_time_and_each_is_replaced_while_the_others_live() -> None:
    guards = [Guard(answer, time_limit_s=30, calls_per_process=2) for _ in range(3)]
    for guard in guards:
        guard.start('pid')
    pids = []
    while len(pids) < 12:
        for guard in answered(guards):
            pids.append(guard.answer())
            guard.start('pid')
    assert os.getpid() not in pids and 6 <= len(set(pids)) <= 8
    guards[0].close()
    guards[0].start('hang')
    guards[1].close()
    start = time.monotonic()
    guards[0].close()
    assert time.monotonic() - start < 10
    assert guards[2].answer()


def test_an_interrupt_is_not_for_the_process(guard: Guard) -> None:
    assert guard('interrupt') is None


def test_no_process_is_left_behind(guard: Guard) -> None:
    pid = guard('pid')
    guard.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert guard('echo', 1) == 1


def test_a_copy_has_a_process_of_its_own(guard: Guard) -> None:
    other = pickle.loads(pickle.dumps(guard))
    assert guard('pid') != other('pid')


def test_a_killed_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    """Neither those that wait for work nor one that hangs: its alarm is its own."""
    script = tmp_path / 'parent.py'
    script.write_text(
        'import sys, time\n'
        'from sta.datasets.guard import Guard\n'
        'from tests.datasets.test_guard import answer\n'
        'idle = [Guard(answer, time_limit_s=2) for _ in range(2)]\n'
        'print(*(guard("pid") for guard in idle), sep="\\n", flush=True)\n'
        'def hang(): print(answer("pid"), flush=True); time.sleep(99)\n'
        'Guard(hang, time_limit_s=2)()\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        pids = [int(parent.stdout.readline()) for _ in range(3)]
        parent.kill()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'  # a dead one that nobody has asked about


class EndsChildren:
    """As a decoder that waits for threads its child has not, only sooner."""

    def __init__(self) -> None:
        self.owner, self.itself = os.getpid(), self

    def __del__(self) -> None:
        if os.getpid() != self.owner:
            os._exit(9)


def test_what_the_parent_left_to_be_collected_is_not_ended_in_the_child() -> None:
    gc.disable()
    try:
        EndsChildren()
        assert Guard(gc.collect, time_limit_s=5)() >= 0
        loader = DataLoader(range(2), num_workers=1, collate_fn=lambda _: gc.collect())
        assert min(through_memory(loader)) >= 0
    finally:
        gc.enable()


@pytest.mark.parametrize('limit', [0, -1])
def test_a_limit_that_is_none(limit: float) -> None:
    with pytest.raises(ValueError, match=f'time_limit_s must be positive, got {limit}'):
        Guard(answer, time_limit_s=limit)


def test_without_fork_the_work_is_done_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, 'fork')
    assert Guard(answer, time_limit_s=1)('pid') == os.getpid()
