"""Stored scores as they are read: of one run, or of several that share a list."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np


class StoreError(ValueError):
    """A store that cannot be used; the message says why and what to do."""


class StoredVideo(NamedTuple):
    """What became of one video.

    Attributes:
        name: its path.
        label: class.
        scores: (variants, classes) float32; None where it could not be decoded.
        decoder: what decoded it.
        reason: why it could not be decoded, or that scores which are not finite count as wrong; ''
            where all is well.
        costs: (variants, 2) float64, tokens and GFLOPs per view, mean over the video's views; NaN
            for variants whose cost does not depend on the clip, None where that is all of them.
    """

    name: str
    label: int
    scores: np.ndarray | None
    decoder: str = ''
    reason: str = ''
    costs: np.ndarray | None = None

    @property
    def is_finite(self) -> bool:
        """Whether it has no score that is NaN or infinite; one without scores has none."""
        return self.scores is None or bool(np.isfinite(self.scores).all())


class Stored(NamedTuple):
    """Everything the processes of earlier sessions stored.

    Attributes:
        videos: by place in the list.
        clips: views scored.
        model_s: (variants,) seconds of model time they took.
        clip_shape: (3, T, H, W) of one view; None where nothing was scored yet.
        views: per video; 0 where nothing was scored yet.
    """

    videos: dict[int, StoredVideo]
    clips: int
    model_s: np.ndarray
    clip_shape: tuple[int, ...] | None
    views: int


def read_stores(paths: Iterable[Path], num_variants: int) -> Stored:
    """What files of scores hold together; later sessions are believed rather than earlier ones.

    Args:
        paths: of one process and session each, in any folders.
        num_variants: that every video is scored under.

    Raises:
        StoreError: a damaged file.
    """
    videos: dict[int, StoredVideo] = {}
    clips, model_s = 0, np.zeros(num_variants)
    clip_shape, views = None, 0
    for path in sorted(paths, key=lambda path: path.name):  # names begin with the time
        with reading(path) as connection:
            videos.update(_videos(connection, num_variants))
            for number, seconds in connection.execute('SELECT clips, model_s FROM batches'):
                clips += number
                model_s += json.loads(seconds)
            facts = dict(connection.execute('SELECT name, value FROM facts'))
        clip_shape = json.loads(facts.get('clip_shape', 'null')) or clip_shape
        views = int(facts.get('views', views))
    return Stored(videos, clips, model_s, clip_shape and tuple(clip_shape), views)


def read_condition_texts(paths: Iterable[Path]) -> tuple[str, ...]:
    """What the processes that wrote these files said of their conditions, without repetition.

    Raises:
        StoreError: a damaged file.
    """
    found: dict[str, None] = {}
    for path in paths:
        with reading(path) as connection:
            rows = connection.execute("SELECT value FROM facts WHERE name = 'conditions'")
            found.update((text, None) for (text,) in rows)
    return tuple(found)


def read_fingerprint(path: Path) -> dict[str, str]:
    """What the scores of a file depend on.

    Raises:
        StoreError: it is no score file.
    """
    with reading(path) as connection:
        row = connection.execute("SELECT value FROM facts WHERE name = 'fingerprint'").fetchone()
    return json.loads(row[0])


def differing_parts(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of the parts of two fingerprints that differ."""
    return [part for part in {**one, **other} if one.get(part) != other.get(part)]


@contextmanager
def snapshots(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Copies of files that other processes may be writing, each as after one of its batches.

    A file must not be opened where it lies while its process lives: SQLite would take a batch that
    is being written for what a killed process left half done, and undo it.
    """
    with tempfile.TemporaryDirectory(prefix='sta-scores-') as folder:
        copies = []
        for path in paths:
            content, journal = _between_batches(path)
            copies.append(Path(folder, path.name))
            copies[-1].write_bytes(content)
            if journal is not None:
                _journal(copies[-1]).write_bytes(journal)
        yield copies


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading; a damaged one is named in one line."""
    try:
        # Not read-only: SQLite must be able to roll back what a killed process left half done.
        with closing(connect(path)) as connection:
            yield connection
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise StoreError(
            f'{path} cannot be read as stored scores ({error}); without this file its videos are '
            f'evaluated again'
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """Open a file that exists, for reading and writing."""
    # Each file has one writer, and network file systems may offer no locks.
    return sqlite3.connect(f'{path.resolve().as_uri()}?mode=rw&nolock=1', uri=True)


def _between_batches(path: Path, patience_s: float = 2.0) -> tuple[bytes, bytes | None]:
    """Content of a file while nothing is written to it, and of its journal if one stays there."""
    deadline = time.monotonic() + patience_s
    while True:
        before = _state(path)
        content = path.read_bytes()
        if before[2] is None and _state(path) == before:
            return content, None
        if time.monotonic() > deadline:
            # No batch takes this long to write: its process is dead, and the journal undoes it.
            try:
                return content, _journal(path).read_bytes()
            except FileNotFoundError:  # alive after all
                deadline = time.monotonic() + patience_s
        time.sleep(0.02)


def _state(path: Path) -> tuple[int, int, int | None]:
    """Changes whenever a batch is written; the last is None where no journal is."""
    found = path.stat()
    try:
        return found.st_mtime_ns, found.st_size, os.stat(_journal(path)).st_mtime_ns
    except FileNotFoundError:
        return found.st_mtime_ns, found.st_size, None


def _journal(path: Path) -> Path:
    return path.with_name(f'{path.name}-journal')


def _videos(connection: sqlite3.Connection, num_variants: int) -> dict[int, StoredVideo]:
    rows = connection.execute(
        'SELECT place, name, label, scores, decoder, reason, costs FROM videos'
    ).fetchall()
    return {
        place: StoredVideo(
            name,
            label,
            _array(scores, np.float32, num_variants),
            decoder,
            reason,
            _array(costs, np.float64, num_variants),
        )
        for place, name, label, scores, decoder, reason, costs in rows
    }


def _array(blob: bytes | None, dtype: type, num_variants: int) -> np.ndarray | None:
    return None if blob is None else np.frombuffer(blob, dtype).reshape(num_variants, -1)
