"""Lists of 'path label' lines, mmaction2's and VideoMAE's, as annotations."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from ..annotations import Annotation, read_annotations
from ..errors import DataError
from .class_lookup import ClassLookup
from .folder_index import is_video
from .tables import read_text
from .wanted import Annotations, Wanted, repeated, without_repeats


def is_list(path: str | os.PathLike) -> bool:
    """Does the first line name a video and a label?

    Raises:
        DataError: it cannot be read.
    """
    first = next((line for line in read_text(path).splitlines() if line.strip()), '')
    match = re.fullmatch(r'(.+?)[\s,]+-?\d+', first.strip())
    return match is not None and is_video(match[1].strip('"'))


def read_list(path: str | os.PathLike, classes: ClassLookup) -> Annotations:
    """Videos of a list.

    Where the file is not at the path, which may be of another computer, its name will do.

    Raises:
        DataError: see :func:`read_annotations`; or labels that contradict the folders' names.
    """
    lines = read_annotations(path, num_classes=len(classes.names))
    _check_order(lines, classes, path)
    wanted, excluded, num_repeats = without_repeats(at_paths(lines))
    notes = repeated(num_repeats, path)
    return Annotations(str(path), classes.names, wanted, excluded, notes)


def at_paths(lines: Iterable[Annotation]) -> list[Wanted]:
    """Videos at paths; the stem finds a file elsewhere, if no two of them share it."""
    lines = [Annotation(os.path.normpath(path), label) for path, label in lines]
    uses = Counter(PurePath(path).stem for path in {path for path, _ in lines})
    videos = []
    for path, label in lines:
        stem = PurePath(path).stem
        videos.append(Wanted(path, label, (stem,) if uses[stem] == 1 else (), path))
    return videos


def _check_order(lines: list[Annotation], classes: ClassLookup, source: str | os.PathLike) -> None:
    """A list whose labels follow another order of classes gives an accuracy of next to nothing."""
    wrong = [
        (line, found)
        for line in lines
        if (found := classes.find(PurePath(line.path).parent.name)) not in (None, line.label)
    ]
    if wrong:
        line, found = wrong[0]
        raise DataError(
            f'{source}: {len(wrong)} of {len(lines)} labels contradict the folder of the video, '
            f'e.g. {line.path} has label {line.label}, {classes.names[line.label]!r}, but its '
            f'folder is label {found} of {classes.title}: make the list from the official '
            f'annotations'
        )
