"""Work in other processes, which may hang, crash or leak without harm to ours, and its way back.

What comes back passes in memory of its own, not through /dev/shm: torch and the standard library
share memory as files below it, which is 64 MB in a container unless somebody asked for more; 15
views of one video are 36 MB. Memory of memfd_create belongs to no mounted file system: it is
bounded by the machine's alone, and goes with the last process that holds it, however that ends.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import io
import itertools
import mmap
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from sta.errors import DataError, DeadProcessError

# What torch's data loading workers install handlers for, which print a line each; here a crash
# shall simply end the process.
_HANDLED = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE)
_CRASHES = (*_HANDLED, signal.SIGABRT, signal.SIGILL)
KILLED = 'was killed (is memory short?)'
# Of processes in a row: two decoders on each of three videos.
_MOST_DEATHS = 6
# Our ends of all guards of this process.
_channels: weakref.WeakSet[Connection] = weakref.WeakSet()


class GuardError(RuntimeError):
    """The process was ended: too slow, or crashed; the message says which."""


class Guard:
    """Calls a function in a forked process, with a time limit that also ends foreign code.

    Python cannot interrupt a C library; the kernel can: the process sets an alarm whose default
    action is its own death. A new one is forked for the next call. Where a system cannot fork,
    the function is called in place, without a limit.

    Args:
        work: called with the arguments of ``__call__``; what it returns is pickled, fastest where
            large parts are arrays or tensors. It must handle its exceptions: they end the process.
        time_limit_s: seconds a call may take.
        calls_per_process: after so many the process is replaced, so that leaks of libraries stay
            bounded.
    """

    def __init__(
        self, work: Callable[..., Any], *, time_limit_s: float, calls_per_process: int = 500
    ) -> None:
        if not time_limit_s > 0:
            raise ValueError(f'time_limit_s must be positive, got {time_limit_s}')
        self.work = work
        self.time_limit_s = time_limit_s
        self.calls_per_process = calls_per_process
        self._owner = self._pid = self._calls = self._deaths = 0
        self._channel: Any = None  # a Connection while there is a process

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Raises:
            GuardError: the process did not live to answer.
            DeadProcessError: it was killed or crashed so often in a row, on whatever arguments,
                that they are not to blame.
        """
        self.start(*arguments)
        return self.answer()

    def start(self, *arguments: Any) -> None:
        """Call the function without waiting for what it returns, which :meth:`answer` gives."""
        self._arguments = arguments
        if not hasattr(os, 'fork'):
            return
        if self._channel is None or self._owner != os.getpid():
            self._fork()
        self._calls += 1
        with suppress(ConnectionError):  # it has died: the answer says how
            self._channel.send(arguments)

    def answer(self) -> Any:
        """Wait for what the function returns; raises what :meth:`__call__` raises."""
        if not hasattr(os, 'fork'):
            return self.work(*self._arguments)
        try:
            answer = _receive(self._channel)
        except (EOFError, ConnectionError):
            raise self._death() from None
        self._deaths = 0
        if self._calls >= self.calls_per_process:
            self._end()
        return answer

    def close(self) -> None:
        """End the process at once, whatever it does; the next call starts another."""
        if self._channel is not None and self._owner == os.getpid():
            os.kill(self._pid, signal.SIGKILL)
            self._end()

    def fileno(self) -> int:
        """What :func:`answered` looks at."""
        return self._channel.fileno()

    def __getstate__(self) -> dict[str, Any]:
        """A copy, or one that is sent elsewhere, starts a process of its own."""
        return {**self.__dict__, '_owner': 0, '_pid': 0, '_calls': 0, '_channel': None}

    def _fork(self) -> None:
        self._channel, theirs = Pipe()
        self._owner, self._calls = os.getpid(), 0
        self._pid = os.fork()
        if self._pid == 0:
            # With copies of our ends open, nobody would see that we are gone.
            for channel in [self._channel, *_channels]:
                channel.close()
            self._serve(theirs)
        _channels.add(self._channel)
        theirs.close()

    def _serve(self, channel: Connection) -> NoReturn:
        try:
            # What the parent left to be collected stays: a decoder that ends here would wait for
            # threads that only the parent has.
            gc.freeze()
            for number in (*_HANDLED, signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the closed channel ends us
            faulthandler.disable()  # a crash is told in one line, by the parent
            # A bar's thread, which is gone after the fork, may hold the lock of its stream.
            sys.stderr = getattr(sys.stderr, 'rich_proxied_file', sys.stderr)
            _one_thread_each()
            while True:
                arguments = channel.recv()
                signal.setitimer(signal.ITIMER_REAL, self.time_limit_s)
                answer = self.work(*arguments)
                _send(channel, answer)
                signal.setitimer(signal.ITIMER_REAL, 0)
        except (EOFError, ConnectionError):
            os._exit(0)
        finally:
            # Never back into the parent's code, whose exit handlers are not ours to run.
            os._exit(1)

    def _death(self) -> Exception:
        """What to raise of the process that did not answer."""
        code = self._end()
        if code == -signal.SIGALRM:
            return GuardError(f'it was given up after {self.time_limit_s:g} s')
        self._deaths += 1
        reason = (
            f'the {"decoder" if -code in _CRASHES else "decoding process"} {how_it_ended(code)}'
        )
        if self._deaths < _MOST_DEATHS:
            return GuardError(reason)
        return DeadProcessError(f'{reason}, the last of {self._deaths} in a row')

    def _end(self) -> int:
        """Wait for the process, which ends when the channel is closed; its exit code."""
        self._channel.close()
        self._channel = None
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def answered(guards: Iterable[Guard]) -> list[Any]:
    """Guards whose answer is there, of some that were started; waits for the first."""
    busy: list[Any] = list(guards)
    return wait(busy) if hasattr(os, 'fork') else busy


def how_it_ended(code: int | None) -> str:
    """Words that follow the name of a process.

    Args:
        code: its exit code; a negative one is the number of a signal; None where nobody knows.
    """
    if code is None:
        return 'died'
    if code >= 0:
        return f'ended with status {code}'
    if -code == signal.SIGKILL:
        return KILLED
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no names
        name = f'signal {-code}'
    return f'{"crashed" if -code in _CRASHES else "was ended"} ({name})'


def _one_thread_each() -> None:
    """The threads of a parent are gone after a fork; libraries that wait for them would hang."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _send(channel: Connection, answer: Any) -> None:
    """Arrays go through shared memory: a pipe would take as long as decoding does."""
    parcel = pack(answer)
    channel.send(parcel)
    if parcel.memory is not None:
        send_handle(channel, parcel.memory, None)
        os.close(parcel.memory)


def _receive(channel: Connection) -> Any:
    return _opened(channel.recv(), lambda: recv_handle(channel))


class Parcel(NamedTuple):
    """A pickled object whose arrays and tensors lie outside of the pickle.

    Attributes:
        head: the pickle.
        places: where in the memory each of them starts and ends, in bytes.
        memory: descriptor of the memory, the holder's to close; None where there is nothing in it.
    """

    head: bytes
    places: list[tuple[int, int]]
    memory: int | None


def pack(thing: Any) -> Parcel:
    """Pickle an object; its arrays and tensors are copied once.

    Raises:
        OSError: no memory or no descriptor is left.
    """
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(thing)
    raws = [buffer.raw() for buffer in buffers]
    places, total = _layout([raw.nbytes for raw in raws])
    if not total:
        return Parcel(file.getvalue(), places, None)
    memory = _new_memory()
    try:
        # Written, not mapped: it takes half the time, and what does not fit is an error, no signal.
        for (start, _), raw in zip(places, raws, strict=True):
            _write(memory, raw, start)
        os.ftruncate(memory, total)
    except BaseException:
        os.close(memory)
        raise
    return Parcel(file.getvalue(), places, memory)


def unpack(parcel: Parcel) -> Any:
    """The object again. Its arrays lie in the memory of the parcel, which is freed with the last.

    Raises:
        OSError: the memory cannot be mapped.
    """
    if parcel.memory is None:
        return pickle.loads(parcel.head, buffers=[bytearray() for _ in parcel.places])
    memory = memoryview(mmap.mmap(parcel.memory, os.fstat(parcel.memory).st_size))
    return pickle.loads(parcel.head, buffers=[memory[start:end] for start, end in parcel.places])


def _opened(parcel: Parcel, arriving: Callable[[], int]) -> Any:
    """The object of a parcel whose memory arrives by another way."""
    if parcel.memory is None:
        return unpack(parcel)
    memory = arriving()
    try:
        return unpack(parcel._replace(memory=memory))
    finally:
        os.close(memory)


class _Pickler(pickle.Pickler):
    """Passes tensors on as pickle passes on arrays; by itself it would copy them three times."""

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) is not Tensor or not _is_plain(thing):
            return NotImplemented
        # From the outermost axis of the memory to the innermost: strides come back as they were.
        order = sorted(range(thing.dim()), key=thing.stride, reverse=True)
        dense = thing.permute(order).contiguous()
        raw = pickle.PickleBuffer(dense.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
        return _tensor, (raw, dense.dtype, tuple(dense.shape), tuple(order))


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout == torch.strided
        and tensor.device.type == 'cpu'
        and tensor.numel() > 0
        and not (tensor.requires_grad or tensor.is_quantized or tensor.is_complex())
        and not tensor.is_neg()
    )


def _tensor(raw: Any, dtype: torch.dtype, shape: tuple[int, ...], order: tuple[int, ...]) -> Tensor:
    places = sorted(range(len(order)), key=order.__getitem__)
    return torch.frombuffer(raw, dtype=dtype).view(shape).permute(places)


def _layout(sizes: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Where arrays of these sizes start and end, each at a multiple of 64 bytes, and the whole."""
    places, total = [], 0
    for size in sizes:
        places.append((total, total + size))
        total += -(-size // 64) * 64
    return places, total


def _write(memory: int, raw: memoryview, start: int) -> None:
    while raw.nbytes:  # one call writes 2 GB at most
        written = os.pwrite(memory, raw, start)
        raw, start = raw[written:], start + written


def _new_memory() -> int:
    """Descriptor of new memory; of an unnamed file where the system has no memfd_create."""
    try:
        return getattr(os, 'memfd_create', _memfd_create)('sta')
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _memfd_create(name: str) -> int:
    """The C library's: Pythons that are built for old systems (conda) lack it."""
    function = getattr(ctypes.CDLL(None, use_errno=True), 'memfd_create', None)
    found = -1 if function is None else function(name.encode(), 1)  # MFD_CLOEXEC
    if found < 0:
        raise OSError(errno.ENOSYS if function is None else ctypes.get_errno(), 'memfd_create')
    return found


def through_memory(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Let the workers of a data loader hand over their batches in memory of their own.

    Whatever a collation returns arrives as before: plain CPU tensors and arrays without a pass
    through /dev/shm, the rest pickled. What cannot be pickled, or finds no memory, is an error of
    the worker, which torch reports; by itself torch would print it and wait for the batch forever.

    Args:
        loader: not yet iterated over; changed.

    Returns:
        The loader.

    Raises:
        DataError: not even the locks of the workers find room in /dev/shm.
    """
    if not loader.num_workers or isinstance(loader.collate_fn, _Sending):
        return loader
    _check_locks(loader)
    if hasattr(socket, 'send_fds'):
        loader.collate_fn = _Sending(loader.collate_fn)
        loader.worker_init_fn = _QuietStart(loader.worker_init_fn)
    return loader


def _check_locks(loader: DataLoader[Any]) -> None:
    try:
        (loader.multiprocessing_context or multiprocessing).Lock()
    except OSError as error:
        raise DataError(
            f'data loading workers cannot be started: {error.strerror}; a few KB of /dev/shm are '
            f'needed for their locks: free them, or load in the main process (num_workers=0)'
        ) from None


class _QuietStart:
    """Start a worker whose crash is told by the parent alone, in one line."""

    def __init__(self, start: Callable[[int], None] | None) -> None:
        self._start = start

    def __call__(self, worker_id: int) -> None:
        gc.freeze()  # see Guard: what the parent left is not for its children to end
        faulthandler.disable()
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        if self._start is not None:
            self._start(worker_id)


class _Sending:
    """Collates; in a worker also packs the batch and sends its memory to the process that waits.

    The descriptor of the memory goes through a pair of sockets that all workers inherit, before
    the rest goes through torch's queue. The standard library's DupFd would do the same, but leaves
    a socket in /tmp behind for every worker that is killed.
    """

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate
        receiving, self._socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver = _Receiver(receiving)  # lives as long as the loader
        self._number, self._sent = self._receiver.number, 0
        weakref.finalize(self, self._socket.close)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker that is not forked is given."""
        return {**self.__dict__, '_receiver': None}

    def __call__(self, samples: Any) -> Any:
        batch = self.collate(samples)
        return batch if get_worker_info() is None else self._send(batch)

    def _send(self, batch: Any) -> _Sent:
        parcel = pack(batch)
        self._sent += 1
        key = (os.getpid(), self._sent)
        if parcel.memory is not None:
            try:
                socket.send_fds(self._socket, [b'%d %d' % key], [parcel.memory])
            finally:
                os.close(parcel.memory)
        return _Sent(self._number, key, parcel)


class _Sent(NamedTuple):
    """What goes through torch's queue, and is the batch when it comes out of it."""

    receiver: int
    key: tuple[int, int]
    parcel: Parcel

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.receiver, self.key, tuple(self.parcel))


def _received(receiver: int, key: tuple[int, int], parcel: tuple[Any, ...]) -> Any:
    return _opened(Parcel(*parcel), lambda: _Receiver.living[receiver].descriptor(key))


class _Receiver:
    """Where the descriptors of a loader's workers arrive."""

    living: weakref.WeakValueDictionary[int, _Receiver] = weakref.WeakValueDictionary()
    _numbers = itertools.count()

    def __init__(self, receiving: socket.socket) -> None:
        self.number = next(self._numbers)
        self.living[self.number] = self
        self._socket = receiving
        self._arrived: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, receiving, self._arrived)

    def descriptor(self, key: tuple[int, int]) -> int:
        """What a worker has sent under a key, which it does before it says so in the queue.

        Raises:
            OSError: this process may open no more files.
        """
        with self._lock:
            while key not in self._arrived:
                said, found, *_ = socket.recv_fds(self._socket, 64, 1, socket.MSG_DONTWAIT)
                if not found:
                    raise OSError(errno.EMFILE, f'{os.strerror(errno.EMFILE)} (ulimit -n)')
                pid, number = map(int, said.split())
                self._arrived[pid, number] = found[0]
            # Workers send in order: what is older belongs to an iteration that was broken off.
            for old in [old for old in self._arrived if old[0] == key[0] and old[1] < key[1]]:
                os.close(self._arrived.pop(old))
            return self._arrived.pop(key)


def _close(receiving: socket.socket, arrived: dict[tuple[int, int], int]) -> None:
    receiving.close()
    for descriptor in arrived.values():
        os.close(descriptor)
