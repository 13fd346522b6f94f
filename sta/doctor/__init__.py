"""`python -m sta.doctor`: what is installed, what is broken, and the command that mends it."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036 (they cannot read the rest, but get one line)
    print(f'Python {sys.version.split()[0]} is too old: sta needs 3.10 or later (tested: 3.11).')
    sys.exit(1)

from .report import main  # noqa: E402

__all__ = ['main']
