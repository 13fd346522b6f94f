"""What goes wrong with data, and what is only suspicious."""

from __future__ import annotations

import functools
import os
import sys


@functools.cache
def note(said: str) -> None:
    """Say on stderr what is suspicious of data that is used: once, whatever reads it again."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(f'note: {said}', file=sys.stderr, flush=True)
