"""Scores on disk as soon as a batch is finished, so that a killed run loses nothing else."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Of the tables below; part of every run's fingerprint, so that older ones are left alone.
STORE_FORMAT = 2
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE videos (
    place INTEGER PRIMARY KEY, name TEXT NOT NULL, label INTEGER NOT NULL,
    scores BLOB, decoder TEXT NOT NULL, reason TEXT NOT NULL, costs BLOB
);
CREATE TABLE batches (number INTEGER PRIMARY KEY, clips INTEGER NOT NULL, model_s TEXT NOT NULL);
"""


class StoreError(ValueError):
    """A store that cannot be used; the message says why and what to do."""


class StoredVideo(NamedTuple):
    """What became of one video.

    Attributes:
        name: its path.
        label: class.
        scores: (variants, classes) float32; None where it could not be decoded.
        decoder: what decoded it.
        reason: why it could not be decoded; '' where it could.
        costs: (variants, 2) float64, tokens and GFLOPs per view, mean over the video's views; NaN
            for variants whose cost does not depend on the clip, None where that is all of them.
    """

    name: str
    label: int
    scores: np.ndarray | None
    decoder: str = ''
    reason: str = ''
    costs: np.ndarray | None = None


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


class ScoreStore:
    """A folder of SQLite files, one per process and session, each written by that process alone.

    No file is ever written by two processes, so nothing depends on the locks of a network file
    system. A batch is stored in one transaction: whole or not at all.

    Args:
        folder: holds the files; made when missing.
        fingerprint: what the scores depend on, name to digest; stores of another are refused.
        num_variants: that every video is scored under.
        process: of this one, e.g. 'rank0of2'.

    Raises:
        StoreError: the folder holds scores of something else, or a damaged file.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        fingerprint: Mapping[str, str],
        *,
        num_variants: int,
        process: str = 'rank0of1',
    ) -> None:
        self.folder = Path(folder)
        self.num_variants = num_variants
        self._fingerprint = dict(fingerprint)
        self._process = process
        self._connection: sqlite3.Connection | None = None
        for path in self._files():
            differing = differing_parts(self._fingerprint, read_fingerprint(path))
            if differing:
                raise StoreError(
                    f'{self.folder} holds scores of a run with other {", ".join(differing)}: they '
                    f'are not mixed; choose another --work-dir'
                )

    def read(self) -> Stored:
        """What is stored so far; later sessions are believed rather than earlier ones."""
        videos: dict[int, StoredVideo] = {}
        clips, model_s = 0, np.zeros(self.num_variants)
        clip_shape, views = None, 0
        for path in self._files():
            with _reading(path) as connection:
                videos.update(self._videos(connection))
                for number, seconds in connection.execute('SELECT clips, model_s FROM batches'):
                    clips += number
                    model_s += json.loads(seconds)
                facts = dict(connection.execute('SELECT name, value FROM facts'))
            clip_shape = json.loads(facts.get('clip_shape', 'null')) or clip_shape
            views = int(facts.get('views', views))
        return Stored(videos, clips, model_s, clip_shape and tuple(clip_shape), views)

    def add(
        self,
        number: int,
        videos: Mapping[int, StoredVideo],
        *,
        clips: int = 0,
        model_s: Sequence[float] = (),
        clip_shape: Sequence[int] | None = None,
        views: int = 0,
    ) -> None:
        """Store a finished batch; it is on the disk when this returns.

        Args:
            number: of the batch, unique within a session.
            videos: by place in the list.
            clips, model_s, clip_shape, views: see :class:`Stored`; of this batch alone.

        Raises:
            StoreError: it cannot be stored, as on a full disk.
        """
        rows = [
            (
                place,
                v.name,
                v.label,
                _blob(v.scores, np.float32),
                v.decoder,
                v.reason,
                _blob(v.costs, np.float64),
            )
            for place, v in videos.items()
        ]
        seconds = json.dumps([float(second) for second in model_s])
        facts = [('clip_shape', json.dumps(list(clip_shape or ()))), ('views', str(views))]
        try:
            with self._open() as connection:  # one transaction
                connection.executemany('INSERT OR REPLACE INTO videos VALUES (?,?,?,?,?,?,?)', rows)
                if clips:
                    batch = (number, clips, seconds)
                    connection.execute('INSERT INTO batches VALUES (?,?,?)', batch)
                    connection.executemany('INSERT OR REPLACE INTO facts VALUES (?,?)', facts)
        except sqlite3.Error as error:
            raise StoreError(
                f'scores cannot be stored in {self.folder}: {error}; what was stored is safe, the '
                f'same command goes on from there'
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _files(self) -> list[Path]:
        """Files of all processes, oldest first."""
        return sorted(self.folder.glob('*.sqlite'))

    def _videos(self, connection: sqlite3.Connection) -> dict[int, StoredVideo]:
        rows = connection.execute(
            'SELECT place, name, label, scores, decoder, reason, costs FROM videos'
        ).fetchall()
        return {
            place: StoredVideo(
                name,
                label,
                self._array(scores, np.float32),
                decoder,
                reason,
                self._array(costs, np.float64),
            )
            for place, name, label, scores, decoder, reason, costs in rows
        }

    def _array(self, blob: bytes | None, dtype: type) -> np.ndarray | None:
        if blob is None:
            return None
        return np.frombuffer(blob, dtype).reshape(self.num_variants, -1)

    def _open(self) -> sqlite3.Connection:
        """This process's own file, made when there is something to store."""
        if self._connection is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Sorted by time; host and process make the name this process's own.
            name = f'{time.time_ns():020d}_{self._process}_{socket.gethostname()}_{os.getpid()}'
            path = self.folder / f'{name}.sqlite'
            # Prepared aside: a reader never meets a file without its fingerprint.
            partial = path.with_suffix('.part')
            partial.touch()
            with _connect(partial) as connection:
                connection.executescript(_TABLES)
                fact = ('fingerprint', json.dumps(self._fingerprint))
                connection.execute('INSERT INTO facts VALUES (?,?)', fact)
            connection.close()
            partial.rename(path)
            self._connection = _connect(path)
        return self._connection


def read_fingerprint(path: Path) -> dict[str, str]:
    """What the scores of a file depend on.

    Raises:
        StoreError: it is no score file.
    """
    with _reading(path) as connection:
        row = connection.execute("SELECT value FROM facts WHERE name = 'fingerprint'").fetchone()
    return json.loads(row[0])


def differing_parts(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of the parts of two fingerprints that differ."""
    return [part for part in {**one, **other} if one.get(part) != other.get(part)]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading; a damaged one is named in one line."""
    try:
        # Not read-only: SQLite must be able to roll back what a killed process left half done.
        with closing(_connect(path)) as connection:
            yield connection
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise StoreError(
            f'{path} cannot be read as stored scores ({error}); without this file its videos are '
            f'evaluated again'
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Each file has one writer, and network file systems may offer no locks.
    return sqlite3.connect(f'{path.resolve().as_uri()}?mode=rw&nolock=1', uri=True)


def _blob(array: np.ndarray | None, dtype: type) -> bytes | None:
    return None if array is None else np.ascontiguousarray(array, dtype).tobytes()
