"""Jobs in worker processes, answers as they come; ended at once when the caller stops."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sta.errors import DataError, DeadProcessError

from .guard import how_it_ended


def in_processes(
    work: Callable[[Any], Any], jobs: Iterable[Any], *, num_workers: int
) -> Iterator[Any]:
    """Answers of ``work`` to all jobs, in the order in which they are ready.

    Neither a pool of the standard library nor torch's loader will do: the former lets Ctrl-C wait
    for a video that hangs, the latter lets all others wait for it.

    Args:
        work: called with one job in a worker process; must handle its own exceptions but for
            DataError, which ends all.
        jobs: what can be pickled.
        num_workers: processes.

    Raises:
        DataError: a worker process died, or raised it.
    """
    jobs = iter(jobs)
    busy: dict[Connection, BaseProcess] = {}
    try:
        for job in islice(jobs, num_workers):
            channel, process = _start(work, busy)
            busy[channel] = process
            channel.send((job,))
        while busy:
            for channel in wait(list(busy)):
                answer = _answer(channel, busy[channel])
                job = next(jobs, _NO_MORE)
                if job is _NO_MORE:
                    channel.send(())
                    busy.pop(channel).join()
                else:
                    channel.send((job,))
                yield answer
    except (DeadProcessError, ConnectionError) as error:
        reason = error if isinstance(error, DeadProcessError) else 'a worker process died'
        raise DataError(
            f'{reason}; run the same command again with fewer --workers or more memory'
        ) from None
    finally:
        for process in busy.values():
            process.terminate()
        for process in busy.values():
            process.join()


_NO_MORE = object()


def _answer(channel: Connection, process: BaseProcess) -> Any:
    try:
        answer = channel.recv()
    except (EOFError, ConnectionError):
        process.join()
        how = how_it_ended(process.exitcode)
        raise DeadProcessError(f'a worker process died: it {how}') from None
    if isinstance(answer, DataError):
        raise answer
    return answer


def _start(
    work: Callable[[Any], Any], others: Iterable[Connection]
) -> tuple[Connection, BaseProcess]:
    """A worker process and the channel to it."""
    # Forked: a spawned process would import everything anew, for seconds.
    context = get_context('fork' if hasattr(os, 'fork') else None)
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, [ours, *others]), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _serve(channel: Connection, work: Callable[[Any], Any], others: list[Connection]) -> None:
    # Forked copies of the parent's ends; with them open nobody would see that the parent is gone.
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    faulthandler.disable()  # and so is a crash
    try:
        while job := channel.recv():
            try:
                answer = work(*job)
            except DataError as error:
                answer = error
            channel.send(answer)
    except (EOFError, ConnectionError):  # the parent is gone
        return
