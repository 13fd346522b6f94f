"""Bring together what annotations name and what a folder holds."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sta.errors import DataError

from ..annotations import Annotation
from .folder_index import FolderIndex
from .wanted import Annotations, Excluded, Wanted

MISSING = 'there is no such file'


@dataclass(frozen=True)
class Matched:
    """Videos and their files.

    Attributes:
        found: paths as :class:`FolderIndex` gives them, and labels.
        missing: videos without a file, and those that have another one's.
        chosen: (file taken, file left) of videos that have several.
        unnamed: files that no annotation names.
        outside: found files outside of the folder.
    """

    found: tuple[Annotation, ...]
    missing: tuple[Excluded, ...]
    chosen: tuple[tuple[str, str], ...]
    unnamed: tuple[str, ...]
    outside: tuple[str, ...]


def match_files(annotations: Annotations, index: FolderIndex) -> Matched:
    """Find the file of every video.

    Raises:
        DataError: not one is found.
    """
    found: dict[str, Annotation] = {}
    missing, chosen, named = [], [], set()
    for video in annotations.wanted:
        files = index.candidates(video, annotations.class_names[video.label])
        named.update(files)
        if not files or files[0] in found:
            reason = 'another line names the same file' if files else MISSING
            missing.append(Excluded(video.name, video.label, reason))
            continue
        found[files[0]] = Annotation(files[0], video.label)
        if len(files) > 1:
            chosen.append((files[0], files[1]))
    for video in annotations.excluded:  # named, too, with labels that contradict one another
        named.update(index.candidates(Wanted(video.path, -1, path=video.path), ''))
    if not found:
        raise DataError(_nothing_found(annotations, index))
    return Matched(
        found=tuple(found.values()),
        missing=tuple(missing),
        chosen=tuple(chosen),
        unnamed=tuple(path for path in index.paths if path not in named),
        outside=tuple(
            path for path in found if os.path.isabs(path) or path.startswith('..' + os.sep)
        ),
    )


def _nothing_found(annotations: Annotations, index: FolderIndex) -> str:
    if not annotations.wanted:
        return f'{annotations.source} names no video that could be used'
    there = f'which holds e.g. {index.paths[0]}' if index.paths else 'which holds no videos'
    if index.paths == () and annotations.wanted[0].path:
        there = 'the folder that paths are relative to (--videos FOLDER says another)'
    return (
        f'none of the {len(annotations.wanted)} videos of {annotations.source} is in '
        f'{index.folder}, {there}; expected e.g. {annotations.wanted[0].name}'
    )
