"""How a command line starts: its parser, its paths, and what it says where a library is missing.

Imports nothing heavy, so that --help and mistakes in options are answered at once.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sta.errors import HostError

# A clone of the project; where it was installed otherwise, a folder that holds no configs.
REPOSITORY = Path(__file__).resolve().parents[1]


def tool_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a tool's docstring as it is.

    Args:
        description: the docstring.
    """
    return ToolParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


class ToolParser(argparse.ArgumentParser):
    """Refuses empty arguments: pathlib would take '' for the current folder, where results go."""

    def parse_known_args(  # type: ignore[override]  # overloads over kinds of namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As of argparse; ends with status 2 where an argument is empty."""
        words = sys.argv[1:] if args is None else list(args)
        for place, word in enumerate(words):
            option, equals, value = word.partition('=')
            if word == '' or (option.startswith('--') and equals and not value):
                before = next((w for w in words[place::-1] if w.startswith('--')), '')
                where = f' (behind {before.partition("=")[0]})' if before else ''
                self.error(f'argument {place + 1}{where} is empty: is a shell variable not set?')
        return super().parse_known_args(words, namespace)


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


def add_evaluation_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options of tools/test.py that change scores, which sweeps take as well.

    Args:
        parser: of a tool, or a group of one.
    """
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        '--schedules',
        nargs='+',
        metavar='R',
        help='tokens dropped per chunk: 64, or 48,96,192 for stages of their own; '
        'default: test_cfg of the config',
    )
    parser.add_argument(
        '--pruners',
        nargs='+',
        metavar='NAME',
        help=f'{pruner_names()}, or with settings sta:similarity=value; default: test_cfg of the '
        'config',
    )
    amount.add_argument(
        '--budget',
        nargs='+',
        type=float,
        metavar='SHARE',
        help='GFLOPs allowed, as shares of the unpruned ones, e.g. 0.8 0.6; how much each pruner '
        'drops follows',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        metavar='N',
        help='draw with N seeds; tables and plot then show the mean',
    )
    parser.add_argument('--amp', choices=('bf16', 'fp16'), help='autocast; default float32')
    parser.add_argument(
        '--on-nonfinite',
        choices=('error', 'wrong'),
        help='a video whose scores are NaN or infinite stops the run, or counts as wrong under '
        'that variant, which the table says; default: test_cfg of the config, else error',
    )
    parser.add_argument(
        '--max-videos', type=int, metavar='N', help='a fixed random sample of the list'
    )
    add_cfg_options(parser)


def add_cfg_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add --cfg-options, a list of key=value that is empty where none is given.

    Args:
        parser: of a tool, or a group of one.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='override the config',
    )


def pruner_names() -> str:
    """Short names of the pruners that come with sta, for help texts.

    Read from their class statements: importing them would take seconds.
    """
    names = []
    for path in (Path(__file__).parent / 'pruning').glob('*.py'):
        for node in ast.parse(path.read_text('utf-8')).body:
            if isinstance(node, ast.ClassDef):
                given = {word.arg: word.value for word in node.keywords}
                found = [given[key] for key in ('name', 'presets') if key in given]
                names += [word for value in found for word in _words(ast.literal_eval(value))]
    return ', '.join(sorted(names))


def _words(value: str | dict[str, Any] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def find_path(path: str, *folders: str | os.PathLike[str]) -> str:
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


def stdout_trouble(error: OSError | None = None) -> str:
    """Why standard output takes nothing any more; '' where it does. Later output goes nowhere.

    Args:
        error: that may have come from it: one that names no file is tried out with an empty line,
            since an unbuffered stream remembers nothing.
    """
    if sys.stdout is None:
        return ''
    try:
        if error is not None and error.filename is None and error.errno is not None:
            sys.stdout.write('\n')
        sys.stdout.flush()
        return ''
    except OSError as found:
        with suppress(OSError, ValueError):  # else Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f'standard output cannot be written: {found.strerror}'


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
        made = REPOSITORY / '.venv'  # by make install, which this Python knows nothing of
        python = made / 'bin' / 'python'
        if os.access(python, os.X_OK) and os.path.realpath(made) != os.path.realpath(sys.prefix):
            return (
                f'not installed: {module}, in {sys.executable}. Mend: run {python} instead, which '
                f'make install has made'
            )
        return f'not installed: {module}. Mend: make install; {doctor}'
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if raised_in.startswith(str(REPOSITORY / 'sta')) and not (
        isinstance(error, ImportError) and module != 'sta'
    ):
        return None
    return f'a library does not import ({type(error).__name__}: {str(error)[:300]}); {doctor}'
