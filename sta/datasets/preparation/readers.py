"""Annotations of other people (csv, json, lists, folders), and what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from sta.datasets.annotations import (
    Annotation,
    AnyPath,
    ClassLookup,
    check_class_folders,
    count,
    legible,
    parse_annotations,
    read_class_names,
    read_text,
)
from sta.errors import DataError

from .matching import (
    SHOWN_SUFFIXES,
    Annotations,
    FolderIndex,
    Wanted,
    is_video,
)
from .splitting import NAMES


class Row(NamedTuple):
    """A row of a csv file: number of its line, from 1, and its cells without blanks around."""

    line: int
    cells: tuple[str, ...]


def read_table(path: AnyPath) -> list[Row]:
    """Rows of a csv file that are not empty; fields end at commas, semicolons or tabs.

    Raises:
        DataError: see :func:`read_text`; or it is empty or no csv.
    """
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), '')
    # Spreadsheets separate by semicolons where the comma is the decimal point.
    unquoted = re.sub('"[^"]*"', '', first)
    delimiter = next((mark for mark in '\t;' if mark in unquoted), ',')
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [Row(reader.line_num, tuple(map(str.strip, cells))) for cells in reader]
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num} is no csv: {error}') from None
    rows = [row for row in rows if any(row.cells)]
    if not rows:
        raise DataError(f'{path} is empty')
    return rows


def read_json(path: AnyPath) -> Any:
    """What a json file holds.

    Raises:
        DataError: see :func:`read_text`; or it is no json.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f'{path} is no json: {error}') from None


def is_list(path: AnyPath) -> bool:
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


def read_list(path: AnyPath, classes: ClassLookup) -> Annotations:
    """Videos of a list.

    Where the file is not at the path, which may be of another computer, its name will do.

    Raises:
        DataError: see :func:`parse_annotations`; or labels that contradict the folders' names.
    """
    lines = parse_annotations(path, num_classes=len(classes.names))
    check_class_folders(lines, classes, path, strict=True)
    return Annotations.of_lines(path, classes.names, at_paths(lines))


def at_paths(lines: Iterable[Annotation]) -> list[Wanted]:
    """Videos at paths; the stem finds a file elsewhere, if no two of them share it."""
    lines = [Annotation(os.path.normpath(path), label) for path, label in lines]
    uses = Counter(PurePath(path).stem for path in {path for path, _ in lines})
    videos = []
    for path, label in lines:
        stem = PurePath(path).stem
        videos.append(Wanted(path, label, (stem,) if uses[stem] == 1 else (), path))
    return videos


COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end')


def read_kinetics400(path: AnyPath, *, split: str = 'val') -> Annotations:
    """Videos of a split.

    Args:
        path: csv with the columns label, youtube_id, time_start, time_end and perhaps split, in any
            order; or a list of 'path label' lines.
        split: 'train', 'val' or 'test'; rows of other splits are passed over.

    Raises:
        DataError: neither of the two, unknown classes, no row of the split.
    """
    classes = ClassLookup(read_class_names('kinetics400'), 'Kinetics-400')
    if is_list(path):
        return read_list(path, classes)
    header, *rows = read_table(path)
    columns = _columns(header, path)
    rows = [_whole(row, header, path) for row in rows]
    if 'split' in columns:
        rows = _of_split(rows, columns['split'], split, path)
    labels = classes.labels((row.cells[columns['label']] for row in rows), str(path))
    segments = [_segment(row, columns, path) for row in rows]
    uses = Counter(youtube_id for youtube_id, _ in set(segments))
    videos = [_wanted(*segment, label, uses) for segment, label in zip(segments, labels)]
    return Annotations.of_lines(path, classes.names, videos)


def _wanted(youtube_id: str, name: str, label: int, uses: Counter[str]) -> Wanted:
    # A name without times says which video only where it has a single segment.
    stems = (name, youtube_id) if uses[youtube_id] == 1 else (name,)
    return Wanted(f'{name}.mp4', label, stems)


def _columns(header: Row, path: AnyPath) -> dict[str, int]:
    columns = {name.lower(): place for place, name in enumerate(header.cells)}
    missing = [name for name in COLUMNS if name not in columns]
    if missing == ['label']:
        raise DataError(
            f'{path} has no column label, as the file of the test split: without labels nothing '
            f'can be evaluated; give the csv of the validation split'
        )
    if missing:
        raise DataError(
            f'{path}: the first line must name the columns {", ".join(COLUMNS)}, but it is '
            f"{','.join(header.cells)[:100]!r}; a list of 'path label' lines will do, too"
        )
    return columns


def _whole(row: Row, header: Row, path: AnyPath) -> Row:
    if len(row.cells) != len(header.cells):
        raise DataError(
            f'{path}, line {row.line}: {len(row.cells)} fields instead of {len(header.cells)}'
        )
    return row


def _of_split(rows: list[Row], column: int, split: str, path: AnyPath) -> list[Row]:
    chosen = [row for row in rows if NAMES.get(row.cells[column].lower()) == split]
    if not chosen:
        found = ', '.join(sorted({row.cells[column] for row in rows})[:5]) or 'none'
        raise DataError(f'{path} has no row of the split {split}; its splits are: {found}')
    return chosen


def _segment(row: Row, columns: dict[str, int], path: AnyPath) -> tuple[str, str]:
    """The YouTube id and the usual name of the file, ID_START_END with times in seconds."""
    youtube_id, *times = (row.cells[columns[name]] for name in COLUMNS[1:])
    try:
        start, end = (int(float(time)) for time in times)
    except ValueError:
        raise DataError(
            f'{path}, line {row.line}: time_start and time_end must be seconds, got {times}'
        ) from None
    if not youtube_id:
        raise DataError(f'{path}, line {row.line}: no youtube_id')
    return youtube_id, f'{youtube_id}_{start:06d}_{end:06d}'


def read_ssv2(path: AnyPath, labels: AnyPath) -> Annotations:
    """Videos of a split.

    Args:
        path: json, a list of dicts with 'id' and 'template' ('Holding [something]'); or a list of
            'path label' lines.
        labels: json, {class name: id}; must be the official one.

    Raises:
        DataError: files of another form, unknown classes, labels in another order.
    """
    classes = ClassLookup(read_class_names('ssv2'), 'Something-Something V2')
    check_labels(read_json(labels), classes.names, labels)
    if is_list(path):
        return read_list(path, classes)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise DataError(
            f'{path}: expected a list like [{{"id": "74225", "template": "Holding [something]"}}], '
            f'as in validation.json'
        )
    pairs = [_id_and_template(entry, i, path) for i, entry in enumerate(entries)]
    found = classes.labels((template for _, template in pairs), str(path))
    videos = [Wanted(f'{i}.webm', label, (i,)) for (i, _), label in zip(pairs, found)]
    return Annotations.of_lines(path, classes.names, videos)


def check_labels(given: Any, official: Sequence[str], source: AnyPath = 'labels.json') -> None:
    """Compare {class name: id} with the official names, which the checkpoints follow.

    Raises:
        DataError: it is of another form, or differs; says where.
    """
    if not isinstance(given, dict) or not all(_is_id(number) for number in given.values()):
        raise DataError(f'{source}: expected {{"class name": "id", ...}}, as in labels.json')
    ours = {name: label for label, name in enumerate(official)}
    theirs = {name.strip(): int(number) for name, number in given.items()}
    differences = _differences(theirs, ours)
    if differences:
        more = f' and {len(differences) - 3} more' if len(differences) > 3 else ''
        raise DataError(
            f'{source} has {len(theirs)} classes and differs from the {len(ours)} official ones, '
            f'which the published checkpoints follow: {"; ".join(differences[:3])}{more}'
        )


def _differences(theirs: Mapping[str, int], ours: Mapping[str, int]) -> list[str]:
    return [
        *(f'{name!r} is missing' for name in ours if name not in theirs),
        *(f'{name!r} is unknown' for name in theirs if name not in ours),
        *(
            f'{name!r} has id {theirs[name]} instead of {label}'
            for name, label in ours.items()
            if theirs.get(name, label) != label
        ),
    ]


def _is_id(number: Any) -> bool:
    return isinstance(number, str | int) and str(number).strip().isdigit()


def _id_and_template(entry: Any, place: int, path: AnyPath) -> tuple[str, str]:
    """The video's id and its class name: the template without brackets."""
    if isinstance(entry, dict) and 'id' in entry and 'template' not in entry:
        raise DataError(
            f'{path}: entry {place} has no "template", as in test.json, which has no labels; give '
            f'validation.json'
        )
    if not isinstance(entry, dict) or not {'id', 'template'} <= set(entry):
        raise DataError(f'{path}: entry {place} is no dict with "id" and "template": {entry!r:.80}')
    template = str(entry['template']).replace('[', '').replace(']', '')
    return str(entry['id']), template.strip()


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


def read_labelled_files(path: AnyPath, classes: ClassLookup | None = None) -> Annotations:
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
    annotations = Annotations.of_lines(path, names, videos)
    # Names that are numbers made of labels say nothing of folders.
    known = classes or ClassLookup(names, 'the csv')
    said = check_class_folders(lines, known, path)
    return replace(annotations, notes=(*annotations.notes, said)) if said else annotations


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
    splits: dict[str, str] = {}
    groups: dict[str, str] = {}
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


def _four_cells(rows: list[Row], source: AnyPath) -> list[Row]:
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
    needed = [place for place in places[:2] if place is not None]
    for row in rows:
        if len(row.cells) != len(header) or not all(row.cells[place] for place in needed):
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
