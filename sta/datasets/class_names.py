"""Names of classes in the order of the labels: the official lists, or one name a line in a file."""

from __future__ import annotations

import difflib
import os
from importlib import resources

from sta.errors import DataError

from .annotations import read_text
from .errors import note
from .preparation.class_lookup import ClassLookup

# Kinetics-400 (400 names, alphabetical) and Something-Something V2 (174 templates, by official id).
OFFICIAL = ('kinetics400', 'ssv2')


def read_class_names(source: str | os.PathLike) -> tuple[str, ...]:
    """Class names by label.

    Args:
        source: 'kinetics400' or 'ssv2' for the official lists, else a text file, one name a line;
            empty lines are not counted, which is said on stderr unless they are the last.

    Raises:
        DataError: no such file, an empty one, or a name that stands twice.
    """
    if source in OFFICIAL:
        text = (resources.files('sta.datasets') / 'classes' / f'{source}.txt').read_text('utf-8')
    else:
        try:
            text = read_text(source, 'class list')
        except DataError as error:
            close = difflib.get_close_matches(os.path.basename(source), OFFICIAL, n=1)
            meant = f' (did you mean {close[0]}?)' if close else ''
            raise DataError(
                f'{error}; give a text file with one name a line, or one of '
                f'{", ".join(OFFICIAL)}{meant}'
            ) from None
    return _names(text, source)


def known_classes(
    source: str | os.PathLike | None, num_classes: int | None = None
) -> ClassLookup | None:
    """Classes whose names the class folders of a list may bear; None where nobody names them.

    Args:
        source: see :func:`read_class_names`; None takes it that 400 classes are those of
            Kinetics-400, if all class folders bear their names.
        num_classes: of the list.

    Raises:
        DataError: see :func:`read_class_names`.
    """
    if source is not None:
        return ClassLookup(read_class_names(source), str(source))
    if num_classes != 400:
        return None
    return ClassLookup(read_class_names('kinetics400'), 'kinetics400', guessed=True)


def _names(text: str, source: str | os.PathLike) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    names = tuple(filter(None, lines))
    if not names:
        raise DataError(f'class list {source} is empty: it takes one name a line')
    first: dict[str, int] = {}
    for number, name in enumerate(lines, 1):
        if name and first.setdefault(name, number) != number:
            raise DataError(
                f'class list {source}: {name!r} stands there twice, in lines {first[name]} and '
                f'{number}: the place of a name is its label'
            )
    if '' in lines:
        place = lines.index('')
        after = next(name for name in lines[place:] if name)
        note(
            f'class list {source}: line {place + 1} is empty and not counted, so that {after!r} is '
            f'label {names.index(after)}'
        )
    return names
