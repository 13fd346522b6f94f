"""Which videos are searched on, and which are left to compare on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmaction.registry import DATASETS
from mmengine.config import Config

from sta.atomic import write_text
from sta.datasets.annotations import Annotation, read_annotations, sample
from sta.datasets.errors import DataError
from sta.engine.prediction import files_dataset, find_videos
from sta.engine.session import explained

SEARCHED, HELDOUT = 'search.txt', 'heldout.txt'


class SearchVideos(NamedTuple):
    """What to search on, and the labelled rest.

    Attributes:
        dataset: the videos to search on.
        searched: their lines of the test list; empty where they are not from it.
        heldout: the lines to compare on.
    """

    dataset: Any
    searched: list[Annotation]
    heldout: list[Annotation]

    @property
    def fingerprint(self) -> dict[str, str]:
        """Digest of what is held out, so that the lists of a search are never those of another."""
        if not self.searched:
            return {}
        digest = hashlib.sha256(_text(self.heldout).encode()).hexdigest()
        return {'held-out videos': digest[:16]}

    def write(self, folder: Path) -> Path | None:
        """Write both lists.

        Returns:
            That of the videos held out; None where all of the test list is.

        Raises:
            OSError: one cannot be written.
        """
        if not self.searched:
            return None
        write_text(folder / SEARCHED, _text(self.searched))
        write_text(folder / HELDOUT, _text(self.heldout))
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
        whole = read_annotations(settings.ann_file, num_classes=settings.get('num_classes'))
        if clips:
            files = sample(find_videos(clips), number)
            return SearchVideos(files_dataset(config, files), [], whole)
        places = sample(range(len(whole)), number)
        if len(places) == len(whole):
            raise DataError(
                f'--search-videos {number} leaves none of the {len(whole)} videos of '
                f'{settings.ann_file} to compare on: take fewer, or give --clips'
            )
        dataset = DATASETS.build({**settings, 'max_videos': None})
        dataset.get_subset_(places)
    searched = [whole[place] for place in places]
    chosen = set(searched)  # a video that is listed twice is not held out
    return SearchVideos(dataset, searched, [entry for entry in whole if entry not in chosen])


def _text(entries: Sequence[Annotation]) -> str:
    return ''.join(f'{name} {label}\n' for name, label in entries)
