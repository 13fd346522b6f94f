"""What annotations ask for: videos with labels, before anyone has looked for the files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Wanted(NamedTuple):
    """A video that the annotations name.

    Attributes:
        name: how it is spoken of: its usual file name, or the path that the annotations give.
        label: its class.
        stems: names without suffix that its file may have, the best first.
        path: where the annotations say it is; '' where they do not.
        split: 'train', 'val' or 'test' where the annotations say so, else ''.
        group: what it must not be parted from when videos are divided; '' where nothing is said.
    """

    name: str
    label: int
    stems: tuple[str, ...] = ()
    path: str = ''
    split: str = ''
    group: str = ''


class Excluded(NamedTuple):
    """A video that is left out of the list, and why; the label is '' where there are two."""

    path: str
    label: int | str
    reason: str


@dataclass(frozen=True)
class Annotations:
    """Annotations that have been read.

    Attributes:
        source: the file or folder they come from.
        class_names: by label.
        wanted: the videos, each once.
        excluded: those whose label is not known.
        notes: what else the user should know, in whole sentences.
    """

    source: str
    class_names: tuple[str, ...]
    wanted: tuple[Wanted, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()


def without_repeats(
    videos: Iterable[Wanted],
) -> tuple[tuple[Wanted, ...], tuple[Excluded, ...], int]:
    """Videos by their first line; one with several labels is left out.

    Returns:
        Videos, those that are left out, and the number of lines that said nothing new.
    """
    first: dict[str, Wanted] = {}
    labels: dict[str, set[int]] = {}
    num_lines = 0
    for video in videos:
        num_lines += 1
        first.setdefault(video.name, video)
        labels.setdefault(video.name, set()).add(video.label)
    kept = tuple(video for name, video in first.items() if len(labels[name]) == 1)
    excluded = tuple(
        Excluded(name, '', f'it has the labels {" and ".join(map(str, sorted(several)))}')
        for name, several in labels.items()
        if len(several) > 1
    )
    return kept, excluded, num_lines - len(first)


def repeated(num_repeats: int, source: str | os.PathLike) -> tuple[str, ...]:
    """A note on lines that said nothing new, if there were any."""
    return (f'{num_repeats:,} x {source} names a video again',) if num_repeats else ()


def count(number: int, one: str, many: str = '') -> str:
    """'1 video', '2 videos', '19,881 videos'."""
    return f'{number:,} {one if number == 1 else many or one + "s"}'
