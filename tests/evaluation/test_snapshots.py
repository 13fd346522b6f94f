"""Scores are read while others write them, and nothing of what is written is undone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from sta.errors import StoreError
from sta.evaluation import (
    Conditions,
    Cost,
    ScoreStore,
    StoredVideo,
    assemble,
    read_condition_texts,
    read_conditions,
    read_stores,
    snapshots,
)
from sta.pruning import Variant

SCORES = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
COST = Cost(num_tokens=8, tokens_after_stages=(4,), gflops_per_view=0.1, num_parameters=3)
CONDITIONS = Conditions(
    variants=(
        Variant('unpruned', None, None),
        Variant('sta-2', {'type': 'STAPruner'}, [2, 1], 'sta', '2,1'),
    ),
    costs=(Cost(8, (), 0.1 + 0.2, 3), COST),
    precision='fp32',
    hardware='CPU',
    class_list=None,
)


def store_in(folder: Path, process: str = 'rank0of1') -> ScoreStore:
    return ScoreStore(folder, {'weights': 'a'}, num_variants=2, process=process)


def add(store: ScoreStore, place: int, hardware: str = 'CPU') -> None:
    conditions = Conditions(**{**CONDITIONS.__dict__, 'hardware': hardware})
    store.add(
        place,
        {place: StoredVideo(f'{place}.mp4', 1, SCORES)},
        clips=1,
        model_s=[1.0, 0.5],
        clip_shape=(3, 4, 8, 8),
        views=1,
        conditions=conditions.as_text(),
    )


def test_conditions_come_back_to_the_last_bit() -> None:
    assert read_conditions([CONDITIONS.as_text()]) == CONDITIONS


def test_a_snapshot_shows_finished_batches_and_leaves_the_writer_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, 0)
    [path] = tmp_path.glob('*.sqlite')
    # A batch half written: the journal lies beside the file, as it does while a process writes.
    writer = sqlite3.connect(path)
    writer.execute('PRAGMA cache_size = 1')
    writer.execute('BEGIN EXCLUSIVE')
    for place in range(1, 40):
        row = (place, 'x' * 900, 1, SCORES.tobytes() * 40, '', '', None)
        writer.execute('INSERT INTO videos VALUES (?,?,?,?,?,?,?)', row)
    journal = path.with_name(path.name + '-journal')
    assert journal.exists()
    with snapshots([path]) as copies:
        assert set(read_stores(copies, 2).videos) == {0}
    assert journal.exists()
    writer.commit()
    with snapshots([path]) as copies:
        connection = sqlite3.connect(copies[0])
        assert connection.execute('SELECT COUNT(*) FROM videos').fetchone() == (40,)
        assert connection.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        connection.close()
    writer.close()


def test_folders_are_put_together_in_the_order_of_the_list(tmp_path: Path) -> None:
    one, two = store_in(tmp_path / 'one'), store_in(tmp_path / 'two')
    add(two, 1, 'GPU b')
    add(one, 0, 'GPU a')
    add(one, 2, 'GPU a')
    with snapshots(tmp_path.glob('*/*.sqlite')) as copies:
        texts = sorted(read_condition_texts(copies))
        stored = read_stores(copies, 2)
    result = assemble(stored, read_conditions(texts), wall_s=1.0, wait_share=0.0, part='merged')
    assert result.names == ('0.mp4', '1.mp4', '2.mp4')
    assert result.hardware == 'GPU a, GPU b'
    assert [v.clips_per_s for v in result.variants] == [1.0, 2.0]
    np.testing.assert_array_equal(result.variants[1].scores, [[1.0, 0.0]] * 3)


@pytest.mark.parametrize(
    ('texts', 'said'),
    [
        ([], 'do not say what they are of'),
        (['{'], 'do not say what they are of'),
        (['{"variants": []}'], 'do not say what they are of'),
        (
            [CONDITIONS.as_text(), CONDITIONS.as_text().replace('fp32', 'bf16')],
            'of other variants than each other',
        ),
    ],
)
def test_conditions_that_are_none(texts: list[str], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        read_conditions(texts)
