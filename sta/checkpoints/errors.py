"""The error of this room, and how names out of strangers' files are put into one line."""

from __future__ import annotations

from collections.abc import Sequence

from sta.errors import CheckpointError

LONGEST_NAME = 120


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, separated by commas, and ``, ...`` for the others.

    Args:
        names: as found in a file; control characters are escaped and long ones cut, so that no file
            can break the line or drive the terminal.
        most: how many are shown.
    """
    shown = ', '.join(_printable(name) for name in names[:most])
    return f'{shown}, ...' if len(names) > most else shown


def several_models(where: str, options: Sequence[str], why: str = '') -> CheckpointError:
    """What to raise where a file holds several models and none of them is the usual one.

    Args:
        where: the file.
        options: what `--take` of tools/convert_checkpoint.py would pick one by.
        why: a clause that says how it was noticed.
    """
    return CheckpointError(
        f'{where} holds several models, {listed(options, 6)}{why}: write the one you mean to a '
        f'file of its own, tools/convert_checkpoint.py FILE TARGET --take {listed(options[:1])}'
    )


def _printable(name: str) -> str:
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= LONGEST_NAME else f'{text[:LONGEST_NAME]}...'
