"""How command lines end: well, or with one clear line and a non-zero status."""

from __future__ import annotations

import logging
import re
import signal
import sys
import warnings
from collections.abc import Callable

import torch.distributed as dist

from sta.datasets.guard import how_it_ended
from sta.environment import accept_any_text
from sta.errors import DeadProcessError, StaError
from sta.start import stdout_trouble


def run_command(command: Callable[[], int | None]) -> int:
    """Run a command and turn what a user can get wrong into one line on stderr.

    Args:
        command: does the work; anything but a user's mistake keeps its traceback.

    Returns:
        Exit status: 0, 2 after a user's mistake, 130 when interrupted.
    """
    accept_any_text()
    logging.raiseExceptions = False  # a log that a full disk does not take would be a traceback
    # Of every data loader that is built; how many workers there are is said by the config.
    warnings.filterwarnings('ignore', message='This DataLoader will create')
    try:
        status = command() or 0
        if trouble := stdout_trouble():
            raise OSError(trouble)
        return status
    except StaError as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        return 2
    except OSError as error:  # a folder that is a file, no permission, a full disk
        where = f': {error.filename}' if error.filename else ''
        said = f'{error.strerror or one_line(error)}{where}'
        print(f'error: {stdout_trouble(error) or said}', file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:  # a path that is text, under a locale without its letters
        print(
            f'error: {error.object[:300]!a} cannot be said in {error.encoding}, the encoding of '
            f'the locale: set PYTHONUTF8=1',
            file=sys.stderr,
        )
        return 2
    except RuntimeError as error:
        died = how_a_worker_died(error)
        if died is not None:
            died += '; run the same command again with a smaller num_workers or more memory'
        died = died or how_another_process_died(error)
        if died is None:
            raise
        print(f'error: {died}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def one_line(error: BaseException) -> str:
    """The message of an error, also of one that a data loading worker handed over."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith('Caught ') and len(lines) > 1:
        # torch repeats the worker's traceback as the message; what was said stands last.
        return lines[-1].partition(': ')[2] or lines[-1]
    return ' '.join(line.strip() for line in lines)


def how_a_worker_died(error: BaseException) -> str | None:
    """What an error says of a data loading worker or of its decoding process; else None.

    Args:
        error: of whatever was going on when torch's signal handler raised, or one that was made of
            it on the way.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for one in chain:
        if isinstance(one, DeadProcessError):
            return one_line(one)
    said = [str(one) for one in chain if str(one).startswith('DataLoader worker')]
    if not said:
        return None
    killed = re.search(r'killed by signal: ([^.]*)', ' '.join(said))
    ended = re.search(r'exit code (\d+)', ' '.join(said))
    numbers = {signal.strsignal(number): number for number in signal.valid_signals()}
    code: int | None
    if killed and killed[1].strip() in numbers:
        code = -numbers[killed[1].strip()]
    else:
        code = int(ended[1]) if ended else None
    return f'a data loading worker died: it {how_it_ended(code)}'


def how_another_process_died(error: RuntimeError) -> str | None:
    """What gloo or nccl say where another process of the run is gone; None for other errors."""
    kinds = tuple(
        getattr(dist, name) for name in ('DistError', 'DistBackendError') if hasattr(dist, name)
    )
    if not isinstance(error, kinds) and 'gloo' not in str(error):
        return None
    reason = re.sub(r'^\[[^]]*\] *', '', one_line(error)).partition('. ')[0]
    return f'another process of this run is gone, its own line says why ({reason[:160]})'
