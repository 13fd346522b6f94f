"""The files that a preparation writes, each whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sta.atomic import write_text
from sta.errors import DataError

from ..annotations import Annotation, legible, list_text
from .wanted import Excluded


@dataclass(frozen=True)
class Outputs:
    """Names of the files.

    Attributes:
        folder: where they go.
        prefix: what their names begin with, e.g. 'kinetics400_val_'.
        more: further files that are written beside them, as a config.
    """

    folder: Path
    prefix: str = ''
    more: tuple[str, ...] = ()

    @property
    def list_file(self) -> Path:
        """'path label' lines, see :func:`sta.datasets.annotations.read_annotations`."""
        return self.folder / f'{self.prefix}list_videos.txt'

    def part_file(self, part: str) -> Path:
        """The list of one part of the videos, e.g. 'train'."""
        return self.folder / f'{self.prefix}{part}_list_videos.txt'

    @property
    def excluded_file(self) -> Path:
        """Csv: path, label, reason."""
        return self.folder / f'{self.prefix}excluded.csv'

    @property
    def manifest_file(self) -> Path:
        """Csv, see :class:`sta.datasets.manifest.Manifest`."""
        return self.folder / f'{self.prefix}manifest.csv'

    def refuse_loss(self, *, force: bool) -> None:
        """What an earlier run has written must not be lost by mistake.

        Raises:
            DataError: the folder is a file, or holds a list and ``force`` is False.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f'--out {self.folder} is a file, not a folder')
        old = [self.list_file, self.excluded_file, *(self.folder / name for name in self.more)]
        there = next((path for path in old if path.exists()), None)
        if there is not None and not force:
            raise DataError(
                f'{there} is there from an earlier run: --force writes it anew (what the manifest '
                f'knows is not scanned again), another --out keeps it'
            )

    def open(self, *, force: bool) -> None:
        """Make the folder; see :meth:`refuse_loss`."""
        self.refuse_loss(force=force)
        self.folder.mkdir(parents=True, exist_ok=True)

    def check(self, videos: Sequence[Annotation]) -> None:
        """See that all paths can stand in a list.

        Raises:
            DataError: one would be read back as something else; names it.
        """
        list_text(videos)

    def write_list(self, videos: Sequence[Annotation]) -> None:
        """Write 'path label' lines.

        Raises:
            DataError: a path cannot stand in a list; names it.
        """
        write_text(self.list_file, list_text(videos))

    def write_part(self, part: str, videos: Sequence[Annotation]) -> None:
        """Write 'path label' lines of one part of the videos."""
        write_text(self.part_file(part), list_text(videos))

    def write_excluded(self, videos: Iterable[Excluded]) -> None:
        """Write the csv of what is not in the list."""
        text = io.StringIO(newline='')
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(Excluded._fields)
        writer.writerows((legible(video.path), *video[1:]) for video in videos)
        write_text(self.excluded_file, text.getvalue())
