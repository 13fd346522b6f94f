"""Batches arrive whole from workers, whatever is the size of /dev/shm, and leave nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sta.datasets import guard
from sta.datasets.guard import pack, through_memory, unpack
from sta.errors import DataError

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

    monkeypatch.setattr(guard, '_memfd_create', missing)
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
