"""Run a function in a process of its own, which may hang, crash or leak without harm to ours."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NoReturn

from sta.errors import DeadProcessError

from .transport import pack, unpack

# What torch's data loading workers install handlers for; in a guard they shall simply end it.
_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGTERM)
_CRASHES = (*_FATAL[:3], signal.SIGABRT, signal.SIGILL)
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
        self._channel: Connection | None = None

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
            for number in (*_FATAL, signal.SIGALRM):
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


def answered(guards: Iterable[Guard]) -> list[Guard]:
    """Guards whose answer is there, of some that were started; waits for the first."""
    return wait(list(guards)) if hasattr(os, 'fork') else list(guards)


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
    parcel = channel.recv()
    if parcel.memory is None:
        return unpack(parcel)
    memory = recv_handle(channel)
    try:
        return unpack(parcel._replace(memory=memory))
    finally:
        os.close(memory)
