"""How command lines end: well, or with one clear line and a non-zero status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from sta.analysis import BudgetError
from sta.checkpoints import CheckpointError
from sta.compat import HostError
from sta.datasets.errors import DataError
from sta.evaluation import StoreError
from sta.pruning import ScheduleError
from sta.registry import PrunerError

from .config import ConfigError
from .launch import LaunchError
from .scoring import MemoryShortError
from .variants import VariantError

USER_ERRORS = (
    BudgetError,
    CheckpointError,
    ConfigError,
    DataError,
    HostError,
    LaunchError,
    PrunerError,
    MemoryShortError,
    ScheduleError,
    StoreError,
    VariantError,
)


def run_command(command: Callable[[], int | None]) -> int:
    """Run a command and turn what a user can get wrong into one line on stderr.

    Args:
        command: does the work; anything but a user's mistake keeps its traceback.

    Returns:
        Exit status: 0, 2 after a user's mistake, 130 when interrupted.
    """
    try:
        status = command() or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except USER_ERRORS as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        return 2
    except OSError as error:  # a folder that is a file, no permission, a full disk
        where = f': {error.filename}' if error.filename else ''
        said = f'{error.strerror or error}{where}'
        print(f'error: {_stdout_trouble() or said}', file=sys.stderr)
        return 2
    except RuntimeError as error:
        if not str(error).startswith('DataLoader worker'):
            raise
        # Its own decoding process would have been survived; most often it is memory.
        print(f'error: {one_line(error)}; is memory short? (num_workers)', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _stdout_trouble() -> str:
    """Why standard output takes nothing any more; '' where it does. Later output goes nowhere."""
    if sys.stdout is None:
        return ''
    try:
        sys.stdout.flush()
        return ''
    except OSError as error:
        with suppress(OSError, ValueError):  # else Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f'standard output cannot be written: {error.strerror}'


def one_line(error: BaseException) -> str:
    """The message of an error, also of one that a data loading worker handed over."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith('Caught ') and len(lines) > 1:
        # torch repeats the worker's traceback as the message; what was said stands last.
        return lines[-1].partition(': ')[2] or lines[-1]
    return ' '.join(line.strip() for line in lines)
