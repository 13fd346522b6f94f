"""The error of this room, and how names out of strangers' files are put into one line."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_NAME = 120


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what is wrong and what would fit."""


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, separated by commas, and ``, ...`` for the others.

    Args:
        names: as found in a file; control characters are escaped and long ones cut, so that no file
            can break the line or drive the terminal.
        most: how many are shown.
    """
    shown = ', '.join(_printable(name) for name in names[:most])
    return f'{shown}, ...' if len(names) > most else shown


def _printable(name: str) -> str:
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= LONGEST_NAME else f'{text[:LONGEST_NAME]}...'
