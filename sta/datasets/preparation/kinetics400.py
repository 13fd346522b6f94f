"""Kinetics-400: the official csv of a split."""

from __future__ import annotations

import os
from collections import Counter

from sta.errors import DataError

from ..class_names import read_class_names
from .class_lookup import ClassLookup
from .listed import is_list, read_list
from .tables import Row, read_table
from .wanted import Annotations, Wanted, repeated, without_repeats

TITLE = 'Kinetics-400'
COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end')
# Names of the splits in csv files of different origin.
SPLITS = {
    'train': ('train', 'training'),
    'val': ('val', 'validate', 'validation'),
    'test': ('test', 'testing'),
}


def read_kinetics400(path: str | os.PathLike, *, split: str = 'val') -> Annotations:
    """Videos of a split.

    Args:
        path: csv with the columns label, youtube_id, time_start, time_end and perhaps split, in any
            order; or a list of 'path label' lines.
        split: 'train', 'val' or 'test'; rows of other splits are passed over.

    Raises:
        DataError: neither of the two, unknown classes, no row of the split.
    """
    classes = ClassLookup(read_class_names('kinetics400'), TITLE)
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
    wanted, excluded, num_repeats = without_repeats(videos)
    notes = repeated(num_repeats, path)
    return Annotations(str(path), classes.names, wanted, excluded, notes)


def _wanted(youtube_id: str, name: str, label: int, uses: Counter[str]) -> Wanted:
    # A name without times says which video only where it has a single segment.
    stems = (name, youtube_id) if uses[youtube_id] == 1 else (name,)
    return Wanted(f'{name}.mp4', label, stems)


def _columns(header: Row, path: str | os.PathLike) -> dict[str, int]:
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


def _whole(row: Row, header: Row, path: str | os.PathLike) -> Row:
    if len(row.cells) != len(header.cells):
        raise DataError(
            f'{path}, line {row.line}: {len(row.cells)} fields instead of {len(header.cells)}'
        )
    return row


def _of_split(rows: list[Row], column: int, split: str, path: str | os.PathLike) -> list[Row]:
    chosen = [row for row in rows if row.cells[column].lower() in SPLITS[split]]
    if not chosen:
        found = ', '.join(sorted({row.cells[column] for row in rows})[:5]) or 'none'
        raise DataError(f'{path} has no row of the split {split}; its splits are: {found}')
    return chosen


def _segment(row: Row, columns: dict[str, int], path: str | os.PathLike) -> tuple[str, str]:
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
