"""Stored scores: whole batches, bit for bit, and never mixed with those of something else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sta.errors import StoreError
from sta.evaluation import ScoreStore, StoredVideo

RUN = {'weights': 'a1', 'videos': 'b2'}
SHAPE = (3, 16, 32, 32)


def open_store(folder: Path, run: dict[str, str] = RUN, **settings) -> ScoreStore:
    return ScoreStore(folder, run, **{'num_variants': 2, **settings})


def scored(name: str, seed: int = 0) -> StoredVideo:
    scores = np.random.default_rng(seed).random((2, 5), dtype=np.float32)
    return StoredVideo(name, seed, scores, 'decord')


def add(store: ScoreStore, number: int, videos: dict[int, StoredVideo]) -> None:
    clips = 3 * sum(video.scores is not None for video in videos.values())
    seconds = np.array([0.5, 0.25]) * clips
    store.add(number, videos, clips=clips, model_s=seconds, clip_shape=SHAPE, views=3)


def test_an_empty_folder_holds_nothing_and_stays_empty(tmp_path: Path) -> None:
    found = open_store(tmp_path / 'scores').read()
    assert (found.videos, found.clips, found.clip_shape, found.views) == ({}, 0, None, 0)
    assert found.model_s.tolist() == [0.0, 0.0]
    assert not (tmp_path / 'scores').exists()


def test_what_was_stored_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    broken = StoredVideo('größe ä.mp4', 4, None, reason='it is empty (0 bytes)')
    add(store, 0, {0: scored('a.mp4', 1), 1: broken})
    add(store, 2, {2: scored("b 'c'.mp4", 2)})
    for reader in (store, open_store(tmp_path)):  # this process, and a later one
        found = reader.read()
        assert list(found.videos) == [0, 1, 2]
        assert found.videos[1] == broken
        for place, seed in ((0, 1), (2, 2)):
            expected, video = scored('', seed), found.videos[place]
            assert video.scores.dtype == np.float32
            np.testing.assert_array_equal(video.scores, expected.scores)
            assert (video.label, video.decoder, video.reason) == (seed, 'decord', '')
        assert found.clips == 6 and found.model_s.tolist() == [3.0, 1.5]
        assert (found.clip_shape, found.views) == (SHAPE, 3)


def test_costs_that_depend_on_the_clip_come_back_bit_for_bit(tmp_path: Path) -> None:
    costs = np.array([[np.nan, np.nan], [811.3, 0.1 + 0.2]])
    add(open_store(tmp_path), 0, {0: scored('a.mp4')._replace(costs=costs), 1: scored('b.mp4')})
    found = open_store(tmp_path).read().videos
    np.testing.assert_array_equal(found[0].costs, costs)
    assert found[0].costs.dtype == np.float64 and found[1].costs is None


def test_files_of_several_processes_and_sessions_are_one_store(tmp_path: Path) -> None:
    for place in range(3):
        store = open_store(tmp_path, process=f'rank{place}of3')
        add(store, place, {place: scored(f'{place}.mp4', place)})
        store.close()
    again = open_store(tmp_path)
    add(again, 1, {1: scored('1.mp4', 7)})  # a later session decoded it again
    found = again.read()
    assert sorted(found.videos) == [0, 1, 2]
    assert found.videos[1].label == 7
    assert found.clips == 12
    files = list(tmp_path.glob('*.sqlite'))
    assert len(files) == 4 and len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ('run', 'parts'),
    [
        ({**RUN, 'weights': 'a2'}, 'weights'),
        ({'weights': 'x', 'videos': 'y'}, 'weights, videos'),
        ({**RUN, 'precision': 'bf16'}, 'precision'),
        ({'weights': 'a1'}, 'videos'),
    ],
)
def test_scores_of_something_else_are_refused(tmp_path: Path, run: dict, parts: str) -> None:
    add(open_store(tmp_path), 0, {0: scored('a.mp4')})
    with pytest.raises(StoreError, match=f'holds scores of a run with other {parts}: they are not'):
        open_store(tmp_path, run)


@pytest.mark.parametrize(
    'content', [b'', b'no database' * 500, b'SQLite format 3\0' + b'\1' * 3000]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / '1.sqlite').write_bytes(content)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path)
    message = str(caught.value)
    assert message.startswith(f'{tmp_path / "1.sqlite"} cannot be read as stored scores (')
    assert '\n' not in message


def test_a_batch_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    add(store, 0, {0: scored('a.mp4')})
    with pytest.raises(StoreError, match='cannot be stored in .*: NOT NULL.* is safe'):
        store.add(1, {1: scored('b.mp4'), 2: scored('c.mp4')._replace(name=None)})
    assert list(store.read().videos) == [0]


def test_a_process_killed_in_the_middle_of_a_transaction_loses_that_batch_only(
    tmp_path: Path,
) -> None:
    """Its journal is on the disk; whoever reads next rolls it back."""
    script = (
        'import os, signal, sys\n'
        'from pathlib import Path\n'
        'from tests.evaluation.test_store import add, open_store, scored\n'
        'store = open_store(Path(sys.argv[1]))\n'
        'add(store, 0, {0: scored("a.mp4")})\n'
        'connection = store._connection\n'
        'connection.execute("PRAGMA cache_spill = 1")\n'
        'connection.execute("PRAGMA cache_size = 1")\n'
        'rows = [(i, "x" * 5000, 0, None, "", "") for i in range(1, 500)]\n'
        'connection.executemany("INSERT INTO videos VALUES (?,?,?,?,?,?,NULL)", rows)\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, '-c', script, tmp_path], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob('*-journal'))
    assert list(open_store(tmp_path).read().videos) == [0]


def test_a_file_appears_with_its_fingerprint_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / '1.part').write_bytes(b'')  # killed before the first batch
    assert open_store(tmp_path).read().videos == {}


def test_locks_of_others_do_not_matter(tmp_path: Path) -> None:
    """As on a network file system whose locks outlive a killed process, or do not work at all."""
    store = open_store(tmp_path)
    add(store, 0, {0: scored('a.mp4')})
    path = next(tmp_path.glob('*.sqlite'))
    script = (
        'import sqlite3, sys, time\n'
        'connection = sqlite3.connect(sys.argv[1])\n'
        'connection.execute("BEGIN EXCLUSIVE")\n'
        'print("locked", flush=True)\n'
        'time.sleep(60)\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', script, path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == 'locked\n'
        assert list(open_store(tmp_path).read().videos) == [0]
        add(store, 1, {1: scored('b.mp4')})
        other.kill()
    assert list(open_store(tmp_path).read().videos) == [0, 1]
