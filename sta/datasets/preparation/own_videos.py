"""Videos of one's own: a folder of class folders, or a csv of paths and labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from ..annotations import Annotation, check_class_folders, legible, parse_annotations
from ..errors import DataError
from .class_lookup import ClassLookup
from .folder_index import SHOWN_SUFFIXES, FolderIndex, is_video
from .listed import at_paths, is_list
from .tables import Row, read_table
from .wanted import Annotations, Wanted, count, repeated, without_repeats

PATH_COLUMNS = ('path', 'video', 'video_path', 'file', 'filename')
LABEL_COLUMNS = ('label', 'class', 'class_name', 'category')
_SPLITS = {'train', 'training', 'val', 'valid', 'validate', 'validation', 'test', 'testing'}
# A number beyond it is no label; a class list is made of the numbers otherwise.
_MOST_CLASSES = 10_000


def read_class_folders(index: FolderIndex, classes: ClassLookup | None = None) -> Annotations:
    """Every folder is a class: its videos, at any depth, have the folder's name as their class.

    Args:
        index: of the folder that holds the class folders.
        classes: what the names of the folders are looked up in; None numbers them in their order.

    Raises:
        DataError: no class folders, one without a video that would leave a gap, unknown names.
    """
    by_class: dict[str, list[str]] = {name: [] for name in _subfolders(index)}
    for path in index.paths:
        if len(PurePath(path).parts) > 1:
            by_class[PurePath(path).parts[0]].append(path)
    _check_folders(by_class, index, known=classes is not None)
    empty = [name for name, paths in by_class.items() if not paths]
    classes = classes or ClassLookup(_class_names(by_class, index), 'the folders')
    filled = [name for name in by_class if by_class[name]]
    found = classes.labels(map(legible, filled), f'folders of {index.folder}')
    labels = dict(zip(filled, found, strict=True))
    wanted = tuple(
        Wanted(path, label, (), path) for name, label in labels.items() for path in by_class[name]
    )
    notes = [f'{count(len(empty), "folder")} without videos, e.g. {empty[0]}'] if empty else []
    return Annotations(str(index.folder), classes.names, wanted, (), tuple(notes))


def read_labelled_files(path: str | os.PathLike, classes: ClassLookup | None = None) -> Annotations:
    """Videos of a csv of paths and labels, which are numbers or class names.

    Args:
        path: two columns, or more with a first line that names 'path' and 'label'; or a list of
            'path label' lines.
        classes: what labels are looked up in; None takes the names that occur, sorted.

    Raises:
        DataError: no such columns, unknown names, a label out of range.
    """
    if is_list(path):
        pairs = parse_annotations(path, num_classes=len(classes.names) if classes else None)
        places = [str(path)] * len(pairs)
    else:
        rows = _path_and_label(read_table(path), path)
        pairs = [row.cells for row in rows]
        places = [f'{path}, line {row.line}' for row in rows]
    names, labels = _labels([str(label) for _, label in pairs], places, classes, str(path))
    lines = [Annotation(name, label) for (name, _), label in zip(pairs, labels)]
    # Files of one's own are where the csv says; a namesake elsewhere is another video.
    videos = [video._replace(stems=()) for video in at_paths(lines)]
    wanted, excluded, num_repeats = without_repeats(videos)
    # Names that are numbers made of labels say nothing of folders.
    known = classes or ClassLookup(names, 'the csv')
    said = check_class_folders(lines, known, path)
    notes = repeated(num_repeats, path) + ((said,) if said else ())
    return Annotations(str(path), names, wanted, excluded, notes)


def _class_names(folders: Iterable[str], index: FolderIndex) -> tuple[str, ...]:
    """Names that can stand in a class list, which is read without blanks behind them."""
    first: dict[str, str] = {}
    for folder in folders:
        other = first.setdefault(legible(folder).rstrip(), folder)
        if other != folder:
            raise DataError(
                f'folders {other!r} and {folder!r} of {index.folder} differ in blanks alone: '
                f'rename one'
            )
    return tuple(first)


def _subfolders(index: FolderIndex) -> list[str]:
    with os.scandir(index.folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith('.'))


def _check_folders(by_class: dict[str, list[str]], index: FolderIndex, *, known: bool) -> None:
    if not any(by_class.values()):
        found = count(len(index.paths), 'video') if index.paths else 'no videos'
        raise DataError(
            f'{index.folder} holds {count(len(by_class), "folder")} and {found} outside of them: '
            f'expected a folder for every class, with videos ({SHOWN_SUFFIXES}) in it{_more(index)}'
        )
    if {name.lower() for name in by_class} <= _SPLITS:
        raise DataError(
            f'the folders of {index.folder} are splits, not classes: give '
            f'{index.folder / next(iter(by_class))}'
        )
    empty = [name for name, paths in by_class.items() if not paths]
    if empty and not known:
        raise DataError(
            f'class folder {index.folder / empty[0]} holds no video ({SHOWN_SUFFIXES}): '
            f'remove it, or give all class names by --classes{_more(index)}'
        )


def _more(index: FolderIndex) -> str:
    said = index.left_out_line()
    return f'; {said}' if said else ''


def _path_and_label(rows: list[Row], source: str | os.PathLike) -> list[Row]:
    """Rows of two cells, path and label."""
    header = [cell.lower() for cell in rows[0].cells]
    places = [
        next((i for i, name in enumerate(header) if name in names), None)
        for names in (PATH_COLUMNS, LABEL_COLUMNS)
    ]
    if None in places:
        if len(header) != 2 or not is_video(rows[0].cells[0]):
            raise DataError(
                f"{source}: expected two columns, path and label, or a first line 'path,label', "
                f'got {",".join(rows[0].cells)[:100]!r}'
            )
        places, rows = [0, 1], [rows[0], *rows[1:]]
    else:
        rows = rows[1:]
    if not rows:
        raise DataError(f'{source} names no video')
    for row in rows:
        if len(row.cells) != len(header) or not all(row.cells[place] for place in places):
            raise DataError(
                f'{source}, line {row.line}: expected a path and a label, got '
                f'{",".join(row.cells)[:100]!r}'
            )
    return [Row(row.line, tuple(row.cells[place] for place in places)) for row in rows]


def _labels(
    texts: Sequence[str], places: Sequence[str], classes: ClassLookup | None, source: str
) -> tuple[tuple[str, ...], list[int]]:
    """Class names, and the labels."""
    numeric = [text.lstrip('-').isdecimal() for text in texts]
    if not all(numeric):
        for text, place in zip(texts, places):
            if len(text.splitlines()) > 1:
                raise DataError(f'{place}: label {text!r} is no class name: it has several lines')
        # A number with a fraction is a column that a spreadsheet or pandas has converted.
        for text, place in zip(texts, places):
            if text.replace('.', '', 1).isdecimal() and not text.isdecimal():
                raise DataError(f'{place}: label {text!r} is neither a whole number nor a name')
        classes = classes or ClassLookup(sorted(set(texts)), 'the csv')
        return classes.names, classes.labels(texts, source)
    labels = [int(text) for text in texts]
    limit = len(classes.names) if classes else _MOST_CLASSES
    for label, place in zip(labels, places):
        if not 0 <= label < limit:
            title = f' ({count(limit, "class", "classes")} of {classes.title})' if classes else ''
            raise DataError(f'{place}: label {label} is not between 0 and {limit - 1}{title}')
    names = classes.names if classes else tuple(map(str, range(max(labels) + 1)))
    return names, labels
