"""Scores on disk as soon as a batch is finished, so that a killed run loses nothing else."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .stored import (
    Stored,
    StoredVideo,
    StoreError,
    connect,
    differing_parts,
    read_fingerprint,
    read_stores,
)

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
        return read_stores(self._files(), self.num_variants)

    def add(
        self,
        number: int,
        videos: Mapping[int, StoredVideo],
        *,
        clips: int = 0,
        model_s: Sequence[float] = (),
        clip_shape: Sequence[int] | None = None,
        views: int = 0,
        conditions: str | None = None,
    ) -> None:
        """Store a finished batch; it is on the disk when this returns.

        Args:
            number: of the batch, unique within a session.
            videos: by place in the list.
            clips, model_s, clip_shape, views: see :class:`Stored`; of this batch alone.
            conditions: under which it was scored, see :class:`Conditions`; None says nothing.

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
        facts += [] if conditions is None else [('conditions', conditions)]
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

    def _open(self) -> sqlite3.Connection:
        """This process's own file, made when there is something to store."""
        if self._connection is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Sorted by time; host and process make the name this process's own.
            name = f'{time.time_ns():020d}_{self._process}_{socket.gethostname()}_{os.getpid()}'
            path = self.folder / f'{name}.sqlite'
            # Prepared aside: a reader never meets a file without its fingerprint.
            partial = path.with_suffix('.part')
            try:
                partial.touch()
                with connect(partial) as connection:
                    connection.executescript(_TABLES)
                    fact = ('fingerprint', json.dumps(self._fingerprint))
                    connection.execute('INSERT INTO facts VALUES (?,?)', fact)
                connection.close()
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)  # of a disk that was full
            self._connection = connect(path)
        return self._connection


def _blob(array: np.ndarray | None, dtype: type) -> bytes | None:
    return None if array is None else np.ascontiguousarray(array, dtype).tobytes()
