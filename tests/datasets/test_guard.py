"""What happens in other processes: it harms nobody, and comes back whole, leaving nothing behind.

Calls hang, crash and leak; batches arrive whatever is the size of /dev/shm.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sta.datasets.guard import Guard, GuardError, answered, pack, through_memory, unpack
from sta.errors import DataError, DeadProcessError


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


def test_the_time_limit_is_of_each_call_not_of_all_nor_of_waiting_for_the_next() -> None:
    guard = Guard(lambda seconds: time.sleep(seconds) or os.getpid(), time_limit_s=1.0)
    pids = {guard(0.4) for _ in range(4)}
    time.sleep(1.2)
    assert {guard(0.0)} == pids


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


needs_proc = pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='needs /proc')


def with_small_shm(size: str, work: Callable[[], Any], *, seconds: float = 100) -> int:
    """Exit code of a fork that works with a /dev/shm of this size; 0 where it returns."""
    process = os.fork()
    if process == 0:
        # CLONE_NEWNS: a /dev/shm of its own.
        if ctypes.CDLL(None).unshare(0x20000) != 0:
            os._exit(77)
        for options in (['--make-rprivate', '/'], ['-t', 'tmpfs', '-o', f'size={size}', 'tmpfs']):
            place = [] if options[0].startswith('--') else ['/dev/shm']
            if subprocess.run(['mount', *options, *place], capture_output=True).returncode:
                os._exit(77)
        try:
            os._exit(work() or 0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            if code == 77:
                pytest.skip('no mount namespaces here: /dev/shm cannot be made smaller')
            return code
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    pytest.fail(f'still waiting after {seconds} s')


class Pair(NamedTuple):
    one: Any
    other: Any


def sent(thing: Any) -> Any:
    parcel = pack(thing)
    try:
        return unpack(parcel)
    finally:
        if parcel.memory is not None:
            os.close(parcel.memory)


def descriptors() -> set[tuple[str, str]]:
    """Number and target of every open file of this process."""
    found = set()
    for number in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):  # that of listdir itself
            found.add((number, os.readlink(f'/proc/self/fd/{number}')))
    return found


def assert_nothing_left(before: set[tuple[str, str]], *, seconds: float = 20) -> None:
    """No file is open that was not before; threads of torch's queues may take a while to close."""
    deadline = time.monotonic() + seconds
    while left := descriptors() - before:
        assert time.monotonic() < deadline, f'still open: {sorted(left)}'
        gc.collect()
        time.sleep(0.05)


@pytest.mark.parametrize(
    'tensor',
    [
        torch.arange(24.0).reshape(2, 3, 4),
        torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4).permute(2, 0, 1),
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(5, 7)[:, 1:4],
        torch.randn(4, 1).expand(4, 3),
        torch.tensor(2.5, dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.zeros(0, 3),
        torch.randn(3, dtype=torch.complex64),
        torch.randn(3).to_sparse(),
        torch.randn(3, requires_grad=True),
    ],
    ids=lambda tensor: f'{tensor.dtype} {tuple(tensor.shape)}',
)
def test_tensors_of_all_kinds(tensor: torch.Tensor) -> None:
    found = sent({'a': [tensor, tensor]})['a'][0]
    assert (found.dtype, found.shape, found.layout) == (tensor.dtype, tensor.shape, tensor.layout)
    assert found.requires_grad == tensor.requires_grad
    assert torch.equal(found.detach().to_dense(), tensor.detach().to_dense())
    if tensor.layout == torch.strided and tensor.is_contiguous() or tensor.dim() == 4:
        assert found.stride() == tensor.stride()


def test_everything_else_and_what_is_the_same_stays_the_same() -> None:
    tensor, array = torch.arange(5), np.arange(6.0).reshape(2, 3).T
    thing = Pair({'a': tensor, 'b': (array, 'text', None)}, [tensor, np.zeros(0)])
    found = sent(thing)
    assert isinstance(found, Pair) and found.other[0] is found.one['a']
    np.testing.assert_equal(found.one['b'][:2], (array, 'text'))
    found.one['a'] += 1  # nobody else has this memory, and it may be written to
    assert found.one['a'].tolist() == [1, 2, 3, 4, 5] and tensor.tolist() == [0, 1, 2, 3, 4]


@needs_proc
def test_memory_that_is_short_is_an_error_and_leaks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'pwrite', full)
    before = descriptors()
    with pytest.raises(OSError, match='No space left'):
        pack(torch.zeros(9))
    assert_nothing_left(before)


def test_pythons_and_systems_without_memfd_create(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    assert sent(torch.arange(3)).tolist() == [0, 1, 2]  # the C library's, or a file

    def missing(name: str) -> int:
        raise OSError(errno.ENOSYS, 'memfd_create')

    monkeypatch.setattr('sta.datasets.guard._memfd_create', missing)
    assert sent(torch.arange(3)).tolist() == [0, 1, 2]


class Numbers(Dataset):
    """Tensors of so many bytes that hold their number, and one that does not pickle or crashes."""

    def __init__(self, length: int = 12, size: int = 1000, bad: str = '') -> None:
        self.length, self.size, self.bad = length, size, bad

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if self.bad and index == 5:
            if self.bad == 'raise':
                raise DataError('no such video')
            return (index, lambda: 'cannot be pickled')
        return torch.full((self.size,), index, dtype=torch.uint8)


def first_of(batches: Any) -> list[int]:
    return [int(number) for batch in batches for tensor in batch for number in tensor[:1]]


def as_list(samples: list[Any]) -> list[Any]:
    return samples


def loader(data: Dataset, **settings: Any) -> DataLoader:
    settings = {'num_workers': 2, 'batch_size': 2, 'collate_fn': as_list, **settings}
    return through_memory(DataLoader(data, **settings))


@needs_proc
@pytest.mark.parametrize('persistent', [False, True])
def test_batches_come_in_order_again_and_again(persistent: bool) -> None:
    batches = loader(Numbers(), persistent_workers=persistent)
    assert through_memory(batches) is batches  # once is enough
    before = descriptors()
    for _ in range(4):
        assert first_of(batches) == list(range(12))
        assert not [name for _, name in descriptors() - before if 'memfd' in name]
    del batches
    assert_nothing_left(before)


@needs_proc
def test_an_iteration_that_is_broken_off_leaves_nothing() -> None:
    before = descriptors()
    batches = loader(Numbers(length=40))
    for _ in range(3):
        assert int(next(iter(batches))[1][0]) == 1
    assert first_of(batches) == list(range(40))
    del batches
    assert_nothing_left(before)


def test_batches_that_another_thread_takes() -> None:
    """As the one of torch that pins memory does."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(first_of(loader(Numbers()))))
    thread.start()
    thread.join(60)
    assert found == list(range(12))


def test_workers_that_are_spawned() -> None:
    batches = loader(Numbers(length=4), num_workers=1, multiprocessing_context='spawn')
    assert first_of(batches) == [0, 1, 2, 3]


def test_without_workers_nothing_is_changed() -> None:
    batches = loader(Numbers(), num_workers=0)
    assert batches.collate_fn is as_list and first_of(batches) == list(range(12))


@pytest.mark.parametrize(('bad', 'said'), [('raise', 'no such video'), ('lambda', 'pickle')])
def test_errors_of_workers_come_with_their_text(bad: str, said: str) -> None:
    """torch alone waits for ever for a batch that cannot be pickled."""
    with pytest.raises(Exception, match=said):
        first_of(loader(Numbers(bad=bad)))


def test_a_dev_shm_that_holds_no_batch() -> None:
    def work() -> int:
        return int(first_of(loader(Numbers(size=2_000_000))) != list(range(12)))

    assert with_small_shm('1m', work, seconds=60) == 0


def test_a_dev_shm_that_is_full(capfd: pytest.CaptureFixture) -> None:
    def work() -> int:
        with open('/dev/shm/full', 'wb') as file:  # noqa: PTH123
            try:
                file.write(bytes(100_000))
                file.flush()
            except OSError:
                pass
        loader(Numbers())
        return 0

    assert with_small_shm('64k', work) == 1
    said = capfd.readouterr().out
    assert 'DataError' in said and '/dev/shm' in said and 'num_workers=0' in said
