"""How a command line starts: its parser, its paths, and what it says where a library is missing.

Imports nothing heavy, so that --help and mistakes in options are answered at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .compat import HostError

# A clone of the project; where it was installed otherwise, a folder that holds no configs.
REPOSITORY = Path(__file__).resolve().parents[1]


class _Once(argparse.Action):
    """Stores a value, and refuses a second one: the first would be dropped in silence."""

    _is_given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if self._is_given:
            raise argparse.ArgumentError(self, 'given twice; give all its values behind one')
        self._is_given = option_string is not None
        setattr(namespace, self.dest, values)


def tool_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a tool's docstring as it is and takes every option once.

    Args:
        description: the docstring.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in (None, 'store'):
        parser.register('action', name, _Once)
    return parser


def add_resume(parser: argparse.ArgumentParser, text: str) -> None:
    """Add --resume and --no-resume, one of them at most; the value is None where neither is given.

    Args:
        parser: of a tool.
        text: what they do.
    """
    either = parser.add_mutually_exclusive_group()
    either.add_argument('--resume', action='store_const', const=True, help=text)
    either.add_argument(
        '--no-resume', action='store_const', const=False, dest='resume', help='see --resume'
    )


def find_path(path: str, *folders: str | os.PathLike) -> str:
    """A path of something to be read: as it stands, else below the folders or the repository.

    Args:
        path: relative to the current folder first; an absolute one is returned as it is.
        folders: where else it may be, in this order; the repository comes last.

    Returns:
        Where something is; the path unchanged where there is nothing in any of them.
    """
    if path and not os.path.lexists(path):
        for folder in (*folders, REPOSITORY):
            if os.path.exists(found := os.path.join(folder, path)):
                return found
    return path


@contextmanager
def hosts_needed() -> Iterator[None]:
    """Imports in the block end in one line and status 2 where a library cannot be used.

    Raises:
        SystemExit: with status 2, the reason is on stderr. What fails in this project's own code
            keeps its traceback.
    """
    try:
        yield
    except Exception as error:  # a library that is broken or of another version fails in any way
        reason = _reason(error)
        if reason is None:
            raise
        print(f'error: {" ".join(reason.split())}', file=sys.stderr)
        raise SystemExit(2) from None


def _reason(error: Exception) -> str | None:
    """Why a library cannot be used; None where it is no library's fault."""
    if isinstance(error, HostError):
        return str(error)
    doctor = f'`{sys.executable} -m sta.doctor` names what is broken and what mends it'
    module = (getattr(error, 'name', None) or '').partition('.')[0]
    if isinstance(error, ModuleNotFoundError) and module not in ('', 'sta'):
        return (
            f'not installed: {module}. Mend: make install, or {sys.executable} -m pip install -r '
            f'requirements.txt; {doctor}'
        )
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if raised_in.startswith(str(REPOSITORY / 'sta')) and not (
        isinstance(error, ImportError) and module != 'sta'
    ):
        return None
    return f'a library does not import ({type(error).__name__}: {str(error)[:300]}); {doctor}'
