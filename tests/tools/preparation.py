"""Annotation files and folders of tiny videos for the tools of preparation."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from sta.datasets.annotations import read_annotations, read_class_names
from tests.datasets.movies import write_movie

KINETICS_HEADER = 'label,youtube_id,time_start,time_end,split,is_cc'


def write_videos(folder: Path, *names: str) -> Path:
    """A tiny video under every name; its number of frames is 5 + its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        file = write_movie((folder / name).with_suffix('.mp4'), num_frames=5 + place)
        file.rename(folder / name)  # what is in it counts, not how it is called
    return folder


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return path


def write_labels(path: Path, changes: Mapping[str, str | None] = {}) -> Path:  # noqa: B006
    """labels.json; changes give another id to a name, None takes it out."""
    labels = {name: str(i) for i, name in enumerate(read_class_names('ssv2'))}
    labels = {**labels, **changes}
    path.write_text(json.dumps({name: i for name, i in labels.items() if i is not None}))
    return path


def write_validation(path: Path, videos: Iterable[tuple[str, str]]) -> Path:
    """validation.json of (id, template) pairs."""
    entries = [{'id': i, 'template': t, 'label': 'x', 'placeholders': []} for i, t in videos]
    path.write_text(json.dumps(entries))
    return path


def listed(path: Path) -> list[tuple[str, int]]:
    """Lines of a list."""
    return [tuple(line) for line in read_annotations(path)]


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a csv file."""
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))
