"""Which videos are searched on, and which are left to compare on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmaction.registry import DATASETS
from mmengine.config import Config

from sta.atomic import write_text
from sta.datasets.annotations import Annotation, list_text, read_annotations, sample
from sta.datasets.class_names import known_classes
from sta.datasets.errors import DataError
from sta.engine.prediction import files_dataset, find_videos
from sta.engine.session import explained
from sta.report.columns import counted

SEARCHED, HELDOUT = 'search.txt', 'heldout.txt'


class SearchVideos(NamedTuple):
    """What to search on, and the labelled rest.

    Attributes:
        dataset: the videos to search on.
        searched: lines of the test list that are among them: the same file, or equal content.
        heldout: the other lines.
        files: of the searched lines, as the test data set names them.
        compares_all: whether the comparison is on the whole test list, on ``searched``, too.
        max_videos: of the test data set, which draws as many of those compared on; None takes all.
    """

    dataset: Any
    searched: list[Annotation]
    heldout: list[Annotation]
    files: frozenset[str] = frozenset()
    compares_all: bool = False
    max_videos: int | None = None

    @property
    def fingerprint(self) -> dict[str, str]:
        """Digest of what is held out, so that the lists of a search are never those of another."""
        if not self.searched:
            return {}
        digest = hashlib.sha256(list_text(self.heldout).encode()).hexdigest()
        return {'held-out videos': digest[:16]}

    @property
    def compared(self) -> str:
        """Which videos of the test list the comparison is on, in words."""
        searched, number = len(self.searched), len(self.searched) + len(self.heldout)
        how = 'searched on (same file or equal content)'
        compared = number if self.compares_all else len(self.heldout)
        if self.max_videos is not None and self.max_videos < compared:
            drawn = f'{self.max_videos} drawn (max_videos) from '
            return drawn + self._replace(max_videos=None).compared
        if not searched:
            return counted(number, 'held-out video')
        if not self.compares_all:
            left = counted(len(self.heldout), 'held-out video')
            return f'{left}, without the {searched} of {number} in the test list that are {how}'
        which = 'all' if searched == number else f'{searched}'
        return f'{counted(number, "video")}, {which} of them {how}'

    def write(self, folder: Path) -> Path | None:
        """Write both lists.

        Returns:
            That of the videos held out; None where all of the test list is, or none of it.

        Raises:
            DataError: a name cannot stand in one without the quotation marks it had.
            OSError: one cannot be written.
        """
        if not self.searched:
            return None
        write_text(folder / SEARCHED, list_text(self.searched))
        if not self.heldout:
            return None
        write_text(folder / HELDOUT, list_text(self.heldout))
        return folder / HELDOUT


def search_videos(config: Config, number: int, *, clips: str | None = None) -> SearchVideos:
    """A fixed random sample of a config's test list, or of videos of one's own; writes nothing.

    Args:
        config: with test_dataloader.
        number: of videos to search on, at most.
        clips: a video or folder of videos, which need no labels; None takes the test list.

    Raises:
        ConfigError, DataError: the data cannot be read, or nothing is left to compare on.
    """
    settings = config.test_dataloader.dataset
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        num_classes = settings.get('num_classes')
        whole = read_annotations(
            settings.ann_file,
            num_classes=num_classes,
            classes=known_classes(settings.get('classes'), num_classes),
            folder=(settings.get('data_prefix') or {}).get('video') or '',
        )
        dataset = DATASETS.build({**settings, 'max_videos': None})
        names = [dataset.get_data_info(place)['filename'] for place in range(len(whole))]
        if clips:
            files = sample(find_videos(clips), number)
            own = _searched_on(list(map(Path, names)), files)
            dataset = files_dataset(config, files)
        else:
            places = sample(range(len(whole)), number)
            own = _searched_on(list(map(Path, names)), [Path(names[place]) for place in places])
            if own.all():
                raise DataError(
                    f'--search-videos {number} leaves none of the {len(whole)} videos of '
                    f'{settings.ann_file} to compare on: take fewer, or give --clips'
                )
            dataset.get_subset_(places)
    return SearchVideos(
        dataset,
        searched=[entry for entry, ours in zip(whole, own, strict=True) if ours],
        heldout=[entry for entry, ours in zip(whole, own, strict=True) if not ours],
        files=frozenset(name for name, ours in zip(names, own, strict=True) if ours),
        compares_all=bool(clips),
        max_videos=settings.get('max_videos'),
    )


def _searched_on(paths: Sequence[Path], searched: Sequence[Path]) -> np.ndarray:
    """Which of some videos are searched on, (paths,) bool.

    A copy under another name, or a second line, is the same video: its bytes say so. They are read
    only where another file has as many.

    Args:
        paths: of the videos of a list.
        searched: files that are searched on.
    """
    files = {path.resolve() for path in searched}
    sizes = {size for size in map(_size, searched) if size is not None}
    alike = [path.resolve() not in files and _size(path) in sizes for path in paths]
    digests = set(filter(None, map(_digest, searched))) if any(alike) else set()
    ours = [
        path.resolve() in files or (same_size and _digest(path) in digests)
        for path, same_size in zip(paths, alike, strict=True)
    ]
    return np.array(ours)


def _size(path: Path) -> int | None:
    """Bytes; None where there is no such file, or an empty one, which is no video."""
    try:
        return path.stat().st_size or None
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    """Of the content; None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()
