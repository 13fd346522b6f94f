"""Lists of videos with labels, one 'path label' a line: mmaction2's and VideoMAE's."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from .errors import DataError

Entry = TypeVar('Entry')
_LINE = re.compile(r'^(?:"(?P<quoted>[^"]+)"|(?P<path>.+?))[\s,]+(?P<label>-?\d+)$')


class Annotation(NamedTuple):
    """One line of a list: path of a video, as it stands there, and its label."""

    path: str
    label: int


def read_annotations(
    ann_file: str | os.PathLike, *, num_classes: int | None = None
) -> list[Annotation]:
    """Read a list; paths may hold blanks, the label is what follows the last blank or comma.

    Args:
        ann_file: UTF-8 text; blank lines are passed over.
        num_classes: labels must lie below it; None does not check.

    Raises:
        DataError: no such list, an empty one, a line that is not 'path label', a label out of
            range.
    """
    if not os.path.isfile(ann_file):
        raise DataError(
            f'annotation file {ann_file} does not exist; it lists the videos, one '
            f"'path label' a line (see data/README.md)"
        )
    try:
        lines = Path(ann_file).read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f'annotation file {ann_file} is not UTF-8: {error}') from None
    entries = [(i, line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    if not entries:
        raise DataError(f'annotation file {ann_file} is empty')
    return [_parse(line, f'{ann_file}, line {i}', num_classes) for i, line in entries]


def sample(entries: Sequence[Entry], number: int) -> list[Entry]:
    """A fixed random sample in the order of the list; a smaller one is part of every larger one.

    Evenly spaced entries would miss whole classes where a list goes through them in turn.

    Args:
        entries: of a list.
        number: how many; all when there are fewer.
    """
    places = np.random.default_rng(0).permutation(len(entries))[:number]
    return [entries[place] for place in sorted(places)]


def _parse(line: str, where: str, num_classes: int | None) -> Annotation:
    match = _LINE.match(line)
    if match is None:
        raise DataError(f"{where}: expected 'path label', got {line!r}")
    label = int(match['label'])
    if num_classes is not None and not 0 <= label < num_classes:
        raise DataError(
            f'{where}: label {label} is not between 0 and {num_classes - 1} (num_classes of the '
            f'config)'
        )
    return Annotation(match['quoted'] or match['path'], label)
