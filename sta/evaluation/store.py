"""Scores on disk as soon as a batch is finished, so that a killed run loses nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sta.errors import DataError, StoreError
from sta.pruning import Variant

from .results import Cost, EvaluationResult, LeftOut, VariantResult
from .statistics import all_finite

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
        folder: str | os.PathLike[str],
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
    clip_shape: tuple[int, int, int, int] | None
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


@dataclass(frozen=True)
class Conditions:
    """What is the same for every video of a process.

    Attributes:
        variants: that it is scored under.
        costs: of each.
        precision: 'fp32', 'bf16' or 'fp16'.
        hardware: in words.
        class_list: where the names of the classes stand; None if nowhere.
        unpruned_gflops: of one view without pruning; None where an older version did not count.
    """

    variants: tuple[Variant, ...]
    costs: tuple[Cost, ...]
    precision: str
    hardware: str
    class_list: str | None
    unpruned_gflops: float | None = None

    def as_text(self) -> str:
        """JSON, from which :func:`read_conditions` makes them again."""
        return json.dumps(dataclasses.asdict(self), default=_plain)


def read_conditions(texts: Sequence[str]) -> Conditions:
    """The conditions that processes stored, who may differ in their hardware alone.

    Raises:
        StoreError: none, damaged ones, or processes that scored other variants.
    """
    try:
        found = [_parse(json.loads(text)) for text in texts]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f'stored scores do not say what they are of: {error!r}') from None
    if not found:
        raise StoreError('stored scores do not say what they are of: made by an older version?')
    names = list(dict.fromkeys(one.hardware for one in found))
    first, *others = (dataclasses.replace(one, hardware='', unpruned_gflops=None) for one in found)
    if any(other != first for other in others):
        raise StoreError('stored scores are of other variants than each other')
    whole = next((o.unpruned_gflops for o in found if o.unpruned_gflops is not None), None)
    return dataclasses.replace(first, hardware=', '.join(names), unpruned_gflops=whole)


def _parse(found: dict[str, Any]) -> Conditions:
    costs = [
        Cost(**{**cost, 'tokens_after_stages': tuple(cost['tokens_after_stages'])})
        for cost in found['costs']
    ]
    variants = tuple(Variant(**variant) for variant in found['variants'])
    return Conditions(**{**found, 'variants': variants, 'costs': tuple(costs)})


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, 'item') else str(value)


def assemble(
    stored: Stored,
    conditions: Conditions,
    *,
    wall_s: float,
    wait_share: float,
    resumed: int = 0,
    part: str = '',
) -> EvaluationResult:
    """The result over all stored videos, in the order of the list.

    Args:
        stored: scores of every video, and what became of the others.
        conditions: under which they were made.
        wall_s, wait_share, resumed, part: see :class:`EvaluationResult`.

    Raises:
        DataError: not one video can be used.
        StoreError: a video has scores that are not finite, and nobody said that it counts as wrong.
    """
    videos = [stored.videos[place] for place in sorted(stored.videos)]
    sound = [video for video in videos if video.scores is not None]
    broken = [video for video in videos if video.scores is None]
    if not sound:
        raise DataError(
            f'none of the {len(broken)} videos can be used; the first is {broken[0].name}: '
            f'{broken[0].reason}'
            if broken
            else 'no video was evaluated yet'
        )
    check_finite(sound, conditions)
    scores = np.stack([video.scores for video in sound if video.scores is not None])
    costs = averaged_costs(conditions.costs, sound)
    clips_per_s = stored.clips / stored.model_s
    return EvaluationResult(
        variants=tuple(
            VariantResult(variant, costs[i], scores[:, i], float(clips_per_s[i]))
            for i, variant in enumerate(conditions.variants)
        ),
        labels=np.array([video.label for video in sound]),
        names=tuple(video.name for video in sound),
        views=stored.views,
        hardware=conditions.hardware,
        precision=conditions.precision,
        wall_s=wall_s,
        wait_share=wait_share,
        left_out=tuple(LeftOut(video.name, video.label, video.reason) for video in broken),
        decoded_by=dict(Counter(video.decoder for video in sound)),
        class_list=conditions.class_list,
        resumed=resumed,
        part=part,
        unpruned_gflops=conditions.unpruned_gflops,
    )


def check_finite(videos: Sequence[StoredVideo], conditions: Conditions) -> None:
    """Refuse what versions stored that did not look; what counts as wrong on purpose says so.

    Raises:
        StoreError: names the first video, the variants and the precision.
    """
    failed = [video for video in videos if not video.reason and not video.is_finite]
    if failed and failed[0].scores is not None:
        finite = all_finite(failed[0].scores)
        names = [v.name for v, good in zip(conditions.variants, finite, strict=True) if not good]
        raise StoreError(
            f'stored scores of {failed[0].name} under {", ".join(names)} in '
            f'{conditions.precision} are not finite'
            + (f', and those of {len(failed) - 1} more videos' if len(failed) > 1 else '')
            + '; an older version stored them: evaluate them again with tools/test.py'
        )


def averaged_costs(costs: Sequence[Cost], videos: Sequence[StoredVideo]) -> list[Cost]:
    """Put averages over the videos in place of the costs that depend on them.

    Args:
        costs: one per variant.
        videos: that were scored.
    """
    if videos[0].costs is None:
        return list(costs)
    means = np.stack([video.costs for video in videos if video.costs is not None]).mean(0)
    return [
        cost
        if np.isnan(gflops)
        else replace(
            cost,
            tokens_after_stages=(round(tokens),),
            gflops_per_view=float(gflops),
            is_average=True,
        )
        for cost, (tokens, gflops) in zip(costs, means, strict=True)
    ]
