"""How command lines end: well, or with one clear line and a non-zero status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sta.analysis import BudgetError
from sta.checkpoints import CheckpointError
from sta.compat import HostError
from sta.datasets.errors import DataError
from sta.evaluation import StoreError
from sta.installed import accept_any_text
from sta.pruning import ScheduleError
from sta.registry import PrunerError
from sta.start import stdout_trouble

from .config import ConfigError
from .launch import LaunchError
from .scoring import MemoryShortError
from .variants import VariantError

USER_ERRORS = (
    BudgetError,
    CheckpointError,
    ConfigError,
    DataError,
    FloatingPointError,  # a model gives NaN or infinity: NotFiniteError, trajectory sums
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
    accept_any_text()
    try:
        status = command() or 0
        if trouble := stdout_trouble():
            raise OSError(trouble)
        return status
    except USER_ERRORS as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        return 2
    except OSError as error:  # a folder that is a file, no permission, a full disk
        where = f': {error.filename}' if error.filename else ''
        said = f'{error.strerror or error}{where}'
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
        if not str(error).startswith('DataLoader worker'):
            raise
        # Its own decoding process would have been survived; most often it is memory.
        print(f'error: {one_line(error)}; is memory short? (num_workers)', file=sys.stderr)
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
