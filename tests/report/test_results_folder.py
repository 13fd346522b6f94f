"""What an evaluation left is read back whole, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sta.errors import DataError
from sta.report import write_results
from sta.report.results_folder import choose_pair, config_title, read_run

from .example import result


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Three variants, four videos, two classes; 2, 1 and 3 right."""
    good = {
        'variants': np.array(['whole', 'b', 'c']),
        'scores': np.eye(2, dtype=np.float32)[[[0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 0]]],
        'labels': np.array([0, 0, 0, 0]),
        'names': np.array(['1.mp4', '2.mp4', '3.mp4', '4.mp4']),
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def write(folder: Path, found: dict | None = None, **changes: Any) -> Path:
    np.savez_compressed(folder / 'scores.npz', **arrays(**changes))
    if found is not None:
        (folder / 'results.json').write_text(json.dumps(found))
    return folder


def results(*kept: tuple[str, int]) -> dict:
    """What results.json says of variants with 10 tokens of which so many are kept."""
    return {
        'variants': [{'name': name, 'num_tokens': 10} for name, _ in kept],
        'rows': [{'name': name, 'tokens_kept': number} for name, number in kept],
    }


def test_what_was_written_is_read_back(tmp_path) -> None:
    found = result()
    write_results(found, tmp_path, command='c', config='c.py', checkpoint='')
    run = read_run(tmp_path)
    assert run.scores.variants == tuple(v.variant.name for v in found.variants)
    np.testing.assert_array_equal(run.scores.labels, found.labels)
    assert run.unpruned == 'unpruned'
    assert run.class_list is None


@pytest.mark.parametrize(
    'found, unpruned, class_list',
    [
        (None, None, None),
        ({}, None, None),
        ([], None, None),
        ({'rows': 3, 'variants': [7], 'environment': 'x'}, None, None),
        (results(('b', 10), ('whole', 9)), 'b', None),
        (results(('whole', 9), ('b', 3)), None, None),
        (results(('gone', 10)), None, None),
        ({'environment': {'classes': 'ssv2'}}, None, 'ssv2'),
        ({'environment': {'classes': ''}}, None, None),
        ({'environment': {'classes': 5}}, None, None),
    ],
)
def test_what_results_json_adds(tmp_path, found, unpruned, class_list) -> None:
    run = read_run(write(tmp_path, found))
    assert (run.unpruned, run.class_list) == (unpruned, class_list)


def test_the_usual_name_will_do_where_nobody_says_what_drops_nothing(tmp_path) -> None:
    run = read_run(write(tmp_path, variants=np.array(['a', 'unpruned', 'c'])))
    assert run.unpruned == 'unpruned'
    assert choose_pair(run) == (1, 0)


@pytest.mark.parametrize('dtype', [np.int32, np.uint8, np.uint64])
def test_labels_of_any_whole_numbers(tmp_path, dtype) -> None:
    labels = read_run(write(tmp_path, labels=np.zeros(4, dtype=dtype))).scores.labels
    assert labels.dtype == np.int64


def test_by_default_the_first_and_the_one_that_falls_most(tmp_path) -> None:
    assert choose_pair(read_run(write(tmp_path))) == (0, 1)
    assert choose_pair(read_run(write(tmp_path, results(('c', 10))))) == (2, 1)
    assert choose_pair(read_run(write(tmp_path, results(('b', 10))))) == (1, 0)


def test_of_equals_the_last(tmp_path) -> None:
    same = np.eye(2, dtype=np.float32)[np.zeros((3, 4), dtype=int)]
    assert choose_pair(read_run(write(tmp_path, scores=same))) == (0, 2)


def test_what_was_asked_for(tmp_path) -> None:
    assert choose_pair(read_run(write(tmp_path)), ('c', 'whole')) == (2, 0)


@pytest.mark.parametrize(
    'asked, said',
    [
        (('whole', 'd'), "no variant 'd'; the scores are of whole, b, c"),
        (('d', 'whole'), "no variant 'd'"),
        (('b', 'b'), "'b' cannot be compared with itself"),
    ],
)
def test_pairs_that_cannot_be_compared(tmp_path, asked, said) -> None:
    with pytest.raises(DataError, match=said):
        choose_pair(read_run(write(tmp_path)), asked)


def test_one_variant_is_not_enough(tmp_path) -> None:
    one = write(tmp_path, variants=np.array(['a']), scores=arrays()['scores'][:1])
    with pytest.raises(DataError, match='two variants are needed.* of a alone'):
        choose_pair(read_run(one))


OBJECTS = np.array([{'an': 'object'}] * 4, dtype=object)
SCORES = arrays()['scores']
DAMAGED = [
    pytest.param({'scores': None}, 'cannot be read.*scores', id='no scores'),
    pytest.param({'labels': OBJECTS}, 'cannot be read.*allow_pickle', id='objects'),
    pytest.param({'names': OBJECTS}, 'cannot be read.*allow_pickle', id='objects as names'),
    pytest.param({'scores': SCORES[0]}, r'shape \(4, 2\), not floats', id='one variant only'),
    pytest.param({'scores': SCORES.astype(int)}, 'int64 of shape', id='whole scores'),
    pytest.param({'labels': np.zeros(3, dtype=int)}, r'labels are int64 of shape \(3,\)', id='few'),
    pytest.param({'labels': np.zeros(4)}, 'labels are float64', id='labels are no integers'),
    pytest.param({'labels': np.array([0, 1, 2, 0])}, 'labels from 0 to 2, .* 2 classes', id='high'),
    pytest.param({'labels': np.array([0, 1, -1, 0])}, 'labels from -1 to 1', id='below zero'),
    pytest.param({'variants': np.array(['a', 'b'])}, '2 names of variants .* of 3', id='names'),
    pytest.param({'variants': np.array([1, 2, 3])}, '3 names of variants', id='numbers for names'),
    pytest.param({'variants': np.array([*'aba'])}, 'two variants of one name', id='same name'),
    pytest.param(
        {'scores': SCORES[:, :0], 'labels': np.zeros(0, dtype=int)}, 'nothing in', id='no videos'
    ),
]


@pytest.mark.parametrize('changes, said', DAMAGED)
def test_arrays_that_are_no_scores(tmp_path, changes, said) -> None:
    with pytest.raises(DataError, match=said):
        read_run(write(tmp_path, **changes))


@pytest.mark.parametrize('keep', [0, 1, 30, 200, -30, -1])
def test_a_damaged_file(tmp_path, keep) -> None:
    path = write(tmp_path) / 'scores.npz'
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match='scores.npz cannot be read'):
        read_run(tmp_path)


def test_a_flipped_byte(tmp_path) -> None:
    path = write(tmp_path) / 'scores.npz'
    data = bytearray(path.read_bytes())
    data[data.index(b'labels.npy') + 40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match='scores.npz cannot be read'):
        read_run(tmp_path)


def test_another_kind_of_file(tmp_path) -> None:
    with (tmp_path / 'scores.npz').open('wb') as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match='scores.npz cannot be read'):
        read_run(tmp_path)


@pytest.mark.parametrize('text', ['{"rows": ', '[' * 100_000, '\udcff'])
def test_a_damaged_results_json(tmp_path, text) -> None:
    write(tmp_path)
    (tmp_path / 'results.json').write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(DataError, match='results.json is damaged'):
        read_run(tmp_path)


def test_folders_without_scores(tmp_path) -> None:
    with pytest.raises(DataError, match='holds no scores.npz'):
        read_run(tmp_path)
    with pytest.raises(DataError, match='is not a folder'):
        read_run(tmp_path / 'nowhere')
    with pytest.raises(DataError, match='scores.npz is not a folder'):
        read_run(write(tmp_path) / 'scores.npz')


def test_a_config_without_a_name_of_its_own_is_called_as_its_folder() -> None:
    assert config_title('configs/sta_vit_k400.py') == 'sta_vit_k400'
    assert config_title('data/fights/config.py') == 'fights'
    assert config_title('config.py') == Path.cwd().name
