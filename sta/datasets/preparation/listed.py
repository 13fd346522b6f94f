"""Lists of 'path label' lines, mmaction2's and VideoMAE's, as annotations."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from ..annotations import Annotation, check_class_folders, parse_annotations, read_text
from .class_lookup import ClassLookup
from .folder_index import is_video
from .wanted import Annotations, Wanted, repeated, without_repeats


def is_list(path: str | os.PathLike) -> bool:
    """Does the first line name a video and a label?

    Raises:
        DataError: it cannot be read.
    """
    first = next((line for line in read_text(path).splitlines() if line.strip()), '')
    match = re.fullmatch(r'(.+?)[\s,]+-?\d+', first.strip())
    if match is None:
        return False
    name = match[1].strip('"')
    # Copies of Kinetics-400 have lost their suffixes; a list of frames has a number more.
    bare = not PurePath(name).suffix and re.fullmatch(r'[\w./-]+', name) is not None
    return bare or is_video(name)


def read_list(path: str | os.PathLike, classes: ClassLookup) -> Annotations:
    """Videos of a list.

    Where the file is not at the path, which may be of another computer, its name will do.

    Raises:
        DataError: see :func:`parse_annotations`; or labels that contradict the folders' names.
    """
    lines = parse_annotations(path, num_classes=len(classes.names))
    check_class_folders(lines, classes, path, strict=True)
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
