"""Videos of one's own: a folder of class folders, or a csv of paths and labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from sta.errors import DataError

from ..annotations import Annotation, check_class_folders, legible, parse_annotations
from .class_lookup import ClassLookup
from .folder_index import SHOWN_SUFFIXES, FolderIndex, is_video
from .listed import at_paths, is_list
from .splitting import NAMES
from .tables import Row, read_table
from .wanted import Annotations, Wanted, count, repeated, without_repeats

PATH_COLUMNS = ('path', 'video', 'video_path', 'file', 'filename')
LABEL_COLUMNS = ('label', 'class', 'class_name', 'category')
SPLIT_COLUMNS = ('split', 'subset')
GROUP_COLUMNS = ('group',)
# A number beyond it is no label; a class list is made of the numbers otherwise.
_MOST_CLASSES = 10_000


def read_class_folders(index: FolderIndex, classes: ClassLookup | None = None) -> Annotations:
    """Every folder is a class: its videos, at any depth, have the folder's name as their class.

    Where the folders are called train, val and test, the class folders are in these, and the split
    is given.

    Args:
        index: of the folder that holds the class folders.
        classes: what the names of the folders are looked up in; None numbers them in their order.

    Raises:
        DataError: no class folders, one without a video that would leave a gap, unknown names.
    """
    splits = _split_folders(index)
    roots = list(splits) or [os.curdir]
    by_class: dict[str, list[str]] = {}
    for root in roots:
        for name in _subfolders(index.folder / root):
            by_class.setdefault(name, [])
    by_class = {name: by_class[name] for name in sorted(by_class)}
    depth = 1 if splits else 0
    for path in index.paths:
        parts = PurePath(path).parts
        if len(parts) > depth + 1 and (not splits or parts[0] in splits):
            by_class[parts[depth]].append(path)
    _check_folders(by_class, index, known=classes is not None)
    empty = [name for name, paths in by_class.items() if not paths]
    classes = classes or ClassLookup(_class_names(by_class, index), 'the folders')
    filled = [name for name in by_class if by_class[name]]
    found = classes.labels(map(legible, filled), f'folders of {index.folder}')
    labels = dict(zip(filled, found, strict=True))
    wanted = tuple(
        Wanted(path, label, (), path, splits.get(PurePath(path).parts[0], ''))
        for name, label in labels.items()
        for path in by_class[name]
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
        rows = [Row(0, (name, str(label), '', '')) for name, label in pairs]
        places = [str(path)] * len(rows)
    else:
        rows = _four_cells(read_table(path), path)
        places = [f'{path}, line {row.line}' for row in rows]
    names, labels = _labels([row.cells[1] for row in rows], places, classes, str(path))
    lines = [Annotation(row.cells[0], label) for row, label in zip(rows, labels)]
    splits = _splits([row.cells[2] for row in rows], places)
    # Files of one's own are where the csv says; a namesake elsewhere is another video.
    videos = [
        video._replace(stems=(), split=split, group=row.cells[3])
        for video, split, row in zip(at_paths(lines), splits, rows)
    ]
    _refuse_two_splits(videos, places)
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


def split_and_groups(
    annotations: Annotations, index: FolderIndex
) -> tuple[dict[str, str], dict[str, str]]:
    """What the annotations say of the videos that are found: their splits and groups, by path."""
    splits, groups = {}, {}
    for video in annotations.wanted:
        files = index.candidates(video, annotations.class_names[video.label])
        if files and video.split:
            splits.setdefault(files[0], video.split)
        if files and video.group:
            groups.setdefault(files[0], video.group)
    return splits, groups


def _split_folders(index: FolderIndex) -> dict[str, str]:
    """Names of folders that are splits, and which; {} where the folders are classes.

    Raises:
        DataError: there are a training and a validation folder, and others that are no splits.
    """
    filled = sorted({PurePath(path).parts[0] for path in index.paths if os.sep in path})
    known = {name: NAMES[name.lower()] for name in filled if name.lower() in NAMES}
    others = [name for name in filled if name not in known]
    if others and len(set(known.values())) > 1:
        raise DataError(
            f'{", ".join(known)} of {index.folder} are splits, but {others[0]} is not: give a '
            f'folder of class folders, or one of train, val and test with class folders in each'
        )
    return {} if others else known


def _splits(texts: Sequence[str], places: Sequence[str]) -> list[str]:
    """'train', 'val' or 'test' of every line; all '' where there is no such column."""
    if not any(texts):
        return ['' for _ in texts]
    for text, place in zip(texts, places):
        if text.lower() not in NAMES:
            raise DataError(f'{place}: split {text!r} is none of {", ".join(NAMES)}')
    return [NAMES[text.lower()] for text in texts]


def _refuse_two_splits(videos: Sequence[Wanted], places: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for video, place in zip(videos, places):
        if first.setdefault(video.name, video.split) != video.split:
            raise DataError(
                f'{place}: {video.name} is of the split {video.split} here and of '
                f'{first[video.name]} above: a video that is trained on cannot be evaluated'
            )


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith('.'))


def _check_folders(by_class: dict[str, list[str]], index: FolderIndex, *, known: bool) -> None:
    if not any(by_class.values()):
        found = count(len(index.paths), 'video') if index.paths else 'no videos'
        inside = ' (in train, val and test: in each of them)' if _split_folders(index) else ''
        raise DataError(
            f'{index.folder} holds {count(len(by_class), "folder")} and {found} outside of them: '
            f'expected a folder for every class{inside}, with videos ({SHOWN_SUFFIXES}) in it'
            f'{_more(index)}'
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


def _four_cells(rows: list[Row], source: str | os.PathLike) -> list[Row]:
    """Rows of four cells: path, label, split and group; '' for the last two where not given."""
    header = [cell.lower() for cell in rows[0].cells]
    places = [
        next((i for i, name in enumerate(header) if name in names), None)
        for names in (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, GROUP_COLUMNS)
    ]
    if None in places[:2]:
        if len(header) != 2 or not is_video(rows[0].cells[0]):
            raise DataError(
                f"{source}: expected two columns, path and label, or a first line 'path,label', "
                f'got {",".join(rows[0].cells)[:100]!r}'
            )
        places = [0, 1, None, None]
    else:
        rows = rows[1:]
    if not rows:
        raise DataError(f'{source} names no video')
    for row in rows:
        if len(row.cells) != len(header) or not all(row.cells[place] for place in places[:2]):
            raise DataError(
                f'{source}, line {row.line}: expected a path and a label, got '
                f'{",".join(row.cells)[:100]!r}'
            )
    return [Row(row.line, tuple('' if i is None else row.cells[i] for i in places)) for row in rows]


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
