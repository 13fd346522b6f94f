"""What is stored is counted, whatever state a job left its file in."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from sta.sweeps.job import count_stored
from tests.evaluation.test_snapshots import SCORES, add, store_in


@pytest.fixture
def element(tmp_path: Path) -> Path:
    """Folder of an element with two stored videos."""
    store = store_in(tmp_path / 'scores')
    add(store, 0)
    add(store, 1)
    store.close()
    return tmp_path


def store_of(element: Path) -> Path:
    [path] = (element / 'scores').glob('*.sqlite')
    return path


def begin_batch(path: Path) -> sqlite3.Connection:
    """Write half of a batch, so that a journal lies beside the file."""
    writer = sqlite3.connect(path)
    writer.execute('PRAGMA cache_size = 1')
    writer.execute('BEGIN EXCLUSIVE')
    for place in range(2, 40):
        row = (place, 'x' * 900, 1, SCORES.tobytes() * 40, '', '', None)
        writer.execute('INSERT INTO videos VALUES (?,?,?,?,?,?,?)', row)
    assert path.with_name(f'{path.name}-journal').exists()
    return writer


def test_nothing_is_there(tmp_path: Path) -> None:
    assert count_stored(tmp_path) == 0


def test_finished_batches(element: Path) -> None:
    assert count_stored(element) == 2


def test_in_the_middle_of_a_batch(element: Path) -> None:
    writer = begin_batch(store_of(element))
    assert count_stored(element) == 2
    writer.commit()
    assert count_stored(element) == 40


def test_a_job_that_was_killed_in_the_middle_of_a_batch(element: Path, tmp_path: Path) -> None:
    """What it left is not touched."""
    path, left = store_of(element), tmp_path / 'killed'
    (left / 'scores').mkdir(parents=True)
    writer = begin_batch(path)
    files = (path, path.with_name(f'{path.name}-journal'))
    for file in files:
        shutil.copyfile(file, left / 'scores' / file.name)
    writer.rollback()
    before = {file.name: (left / 'scores' / file.name).read_bytes() for file in files}
    assert count_stored(left) == 2
    assert {file.name: file.read_bytes() for file in (left / 'scores').iterdir()} == before


def test_what_is_no_store_counts_nothing(element: Path) -> None:
    (element / 'scores/other.sqlite').write_bytes(b'no database' * 100)
    assert count_stored(element) == 2
