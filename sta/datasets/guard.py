"""Run a function in a process of its own, which may hang, crash or leak without harm to ours."""

from __future__ import annotations

import faulthandler
import mmap
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import IO, Any, NoReturn

# What torch's data loading workers install handlers for; in a guard they shall simply end it.
_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGTERM)


class GuardError(RuntimeError):
    """The process was ended: too slow, or crashed; the message says which."""


class Guard:
    """Calls a function in a forked process, with a time limit that also ends foreign code.

    Python cannot interrupt a C library; the kernel can: the process sets an alarm whose default
    action is its own death. A new one is forked for the next call. Where a system cannot fork,
    the function is called in place, without a limit.

    Args:
        work: called with the arguments of ``__call__``; what it returns is pickled, fastest where
            large parts are numpy arrays. It must handle its exceptions: they end the process.
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
        self._owner = self._pid = self._calls = 0
        self._channel: Connection | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Raises:
            GuardError: the process did not live to answer.
        """
        if not hasattr(os, 'fork'):
            return self.work(*arguments)
        if self._channel is None or self._owner != os.getpid():
            self._start()
        self._calls += 1
        try:
            self._channel.send(arguments)
            answer = _receive(self._channel)
        except (EOFError, ConnectionError):
            raise GuardError(self._end()) from None
        if self._calls >= self.calls_per_process:
            self._end()
        return answer

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._channel is not None and self._owner == os.getpid():
            self._end()

    def __getstate__(self) -> dict[str, Any]:
        """A copy, or one that is sent elsewhere, starts a process of its own."""
        return {**self.__dict__, '_owner': 0, '_pid': 0, '_calls': 0, '_channel': None}

    def _start(self) -> None:
        self._channel, theirs = Pipe()
        self._owner, self._calls = os.getpid(), 0
        self._pid = os.fork()
        if self._pid == 0:
            self._channel.close()
            self._serve(theirs)
        theirs.close()

    def _serve(self, channel: Connection) -> NoReturn:
        try:
            for number in (*_FATAL, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the closed channel ends us
            faulthandler.disable()  # a crash is told in one line, by the parent
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

    def _end(self) -> str:
        """Wait for the process, which ends when the channel is closed; say how it ended."""
        self._channel.close()
        self._channel = None
        _, status = os.waitpid(self._pid, 0)
        if not os.WIFSIGNALED(status):
            return f'the decoding process ended with status {os.waitstatus_to_exitcode(status)}'
        number = os.WTERMSIG(status)
        if number == signal.SIGALRM:
            return f'it was given up after {self.time_limit_s:g} s'
        if number == signal.SIGKILL:
            return 'the decoding process was killed (is memory short?)'
        return f'the decoder crashed ({signal.Signals(number).name})'


def _one_thread_each() -> None:
    """The threads of a parent are gone after a fork; libraries that wait for them would hang."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _send(channel: Connection, answer: Any) -> None:
    """Arrays go through shared memory: a pipe would take as long as decoding does."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(answer, protocol=5, buffer_callback=buffers.append)
    places, total = _layout([buffer.raw().nbytes for buffer in buffers])
    channel.send((head, places, total))
    if not total:
        return
    with _shared_file() as file:
        file.truncate(total)
        with mmap.mmap(file.fileno(), total) as memory:
            for (start, end), buffer in zip(places, buffers, strict=True):
                memory[start:end] = buffer.raw()
        send_handle(channel, file.fileno(), None)


def _receive(channel: Connection) -> Any:
    head, places, total = channel.recv()
    if not total:
        return pickle.loads(head)
    descriptor = recv_handle(channel)
    try:
        memory = memoryview(mmap.mmap(descriptor, total))
    finally:
        os.close(descriptor)
    # The arrays lie in this memory, which goes with the last of them.
    return pickle.loads(head, buffers=[memory[start:end] for start, end in places])


def _layout(sizes: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Where arrays of these sizes start and end, each at a multiple of 64 bytes, and the whole."""
    places, total = [], 0
    for size in sizes:
        places.append((total, total + size))
        total += -(-size // 64) * 64
    return places, total


def _shared_file() -> IO[bytes]:
    if hasattr(os, 'memfd_create'):  # Linux: never on a disk, and not bound by the size of /dev/shm
        return os.fdopen(os.memfd_create('sta'), 'r+b')
    return tempfile.TemporaryFile()
