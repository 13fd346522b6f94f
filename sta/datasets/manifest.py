"""The manifest of a scan: one csv line a video, written as they come, read by the next scan."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from sta.atomic import naming, replacing
from sta.errors import DataError

from .scan import VideoScan

_SCAN_COLUMNS = VideoScan._fields[1:]
COLUMNS = ('path', 'label', 'class', *_SCAN_COLUMNS)

# Under a locale that is not UTF-8, names of files hold their bytes as surrogates.
_UTF8 = dict(encoding='utf-8', errors='surrogateescape', newline='')


class ManifestLine(NamedTuple):
    """A video, its class and what the scan found."""

    label: int
    class_name: str
    scan: VideoScan


class Manifest:
    """A csv file with the columns of :data:`COLUMNS` (see :class:`VideoScan`).

    Lines are appended and flushed one by one: what an interrupted scan has found is not lost. Of
    two lines for one path the later holds; one that a crash has cut off is passed over.

    Args:
        path: the file, which need not be there.

    Raises:
        DataError: it is there and is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = {line.scan.path: line for line in _read(path)}

    @property
    def known(self) -> dict[str, VideoScan]:
        """Scans of earlier runs by path."""
        return {path: line.scan for path, line in self._lines.items()}

    @contextmanager
    def appending(self) -> Iterator[_Appender]:
        """Add lines; the file is first written anew, without what a crash has cut off."""
        self.replace(self._lines.values())
        with naming(self.path), open(self.path, 'a', **_UTF8) as file:
            yield _Appender(file)

    def replace(self, lines: Iterable[ManifestLine]) -> None:
        """Write these lines and no others; a reader finds the old file or the new one."""
        lines = list(lines)
        with replacing(self.path) as temporary, open(temporary, 'w', **_UTF8) as file:
            csv.writer(file, lineterminator='\n').writerow(COLUMNS)
            for line in lines:
                _Appender(file, flush=False).append(line)


class _Appender:
    def __init__(self, file: TextIO, *, flush: bool = True) -> None:
        self._file, self._flush = file, flush
        self._writer = csv.writer(file, lineterminator='\n')

    def append(self, line: ManifestLine) -> None:
        """Write a line."""
        scan = line.scan
        self._writer.writerow([scan.path, line.label, line.class_name, *scan[1:]])
        if self._flush:
            self._file.flush()


def _read(path: Path) -> Iterator[ManifestLine]:
    if not path.exists():
        return
    try:
        with open(path, encoding='utf-8', newline='') as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DataError(f'manifest {path} cannot be read: {reason}; remove it') from None
    if rows and tuple(rows[0]) != COLUMNS:
        raise DataError(
            f'manifest {path} is of another kind: its first line is not {",".join(COLUMNS)}; '
            f'remove it or choose another --out'
        )
    for row in rows[1:]:
        line = _parsed(row)
        if line is not None:
            yield line


def _parsed(row: list[str]) -> ManifestLine | None:
    if len(row) != len(COLUMNS):
        return None
    path, label, class_name, *cells = row
    kinds = [type(VideoScan._field_defaults[column]) for column in _SCAN_COLUMNS]
    try:
        scan = VideoScan(path, *(kind(cell) for kind, cell in zip(kinds, cells)))
        return ManifestLine(int(label), class_name, scan)
    except ValueError:
        return None
