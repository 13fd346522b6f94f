"""Names of classes in the order of the labels: the official lists, or one name a line in a file."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from .errors import DataError

# Kinetics-400 (400 names, alphabetical) and Something-Something V2 (174 templates, by official id).
OFFICIAL = ('kinetics400', 'ssv2')


def read_class_names(source: str | os.PathLike) -> tuple[str, ...]:
    """Class names by label.

    Args:
        source: 'kinetics400' or 'ssv2' for the official lists, else a text file, one name a line.

    Raises:
        DataError: no such file, an empty one, or a name that stands twice.
    """
    if source in OFFICIAL:
        text = (resources.files('sta.datasets') / 'classes' / f'{source}.txt').read_text('utf-8')
    else:
        try:
            text = Path(source).read_text(encoding='utf-8-sig')
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, 'strerror', None) or 'it is not UTF-8 text'
            raise DataError(
                f'class list {source} cannot be read: {reason}; give a text file with one name a '
                f'line, or one of {", ".join(OFFICIAL)}'
            ) from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise DataError(f'class list {source} is empty')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f'class list {source}: {twice[0]!r} stands there twice')
    return names
