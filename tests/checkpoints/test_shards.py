"""Folders and indices of shards: only files beside the index are opened, and all must be there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sta.checkpoints import CheckpointError, read_state_dict
from sta.checkpoints.parts import LARGEST_INDEX
from tests.checkpoints.refusals import refusal
from tests.checkpoints.test_strangers import Touch

INDEX = 'model.safetensors.index.json'
WEIGHTS = {'a': torch.zeros(2), 'b': torch.ones(3), 'c': torch.full((4,), 2.0)}


def write(folder: Path, **changes: object) -> Path:
    """Two shards, a and b in the first, and their index with changes."""
    folder.mkdir(exist_ok=True)
    save_file({'a': WEIGHTS['a'], 'b': WEIGHTS['b']}, folder / '1.safetensors')
    torch.save({'c': WEIGHTS['c']}, folder / '2.bin')
    weight_map = {'a': '1.safetensors', 'b': '1.safetensors', 'c': '2.bin', **changes}
    path = folder / INDEX
    path.write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
    return path


def test_the_tensors_of_all_shards(tmp_path) -> None:
    index = write(tmp_path)
    for path in (index, tmp_path):
        found = read_state_dict(path)
        assert found.keys() == WEIGHTS.keys()
        assert all(torch.equal(found[name], WEIGHTS[name]) for name in found)


def test_the_file_transformers_would_take(tmp_path) -> None:
    """Of all that lie in a folder: safetensors before pickles, one file before many."""
    names = ('model.safetensors', INDEX, 'pytorch_model.bin', 'pytorch_model.bin.index.json')
    for i, name in reversed(list(enumerate(names))):
        tensor = torch.tensor(float(i))
        if name.endswith('.json'):
            save_file({'a': tensor}, tmp_path / f'{i}.safetensors')
            (tmp_path / name).write_text(json.dumps({'weight_map': {'a': f'{i}.safetensors'}}))
        elif name.endswith('.bin'):
            torch.save({'a': tensor}, tmp_path / name)
        else:
            save_file({'a': tensor}, tmp_path / name)
        assert read_state_dict(tmp_path)['a'] == i


def test_a_cache_of_links(tmp_path) -> None:
    """The cache of Hugging Face: names that point to files elsewhere; its user made those links."""
    write(tmp_path / 'blobs')
    snapshot = tmp_path / 'snapshot'
    snapshot.mkdir()
    for name in (INDEX, '1.safetensors', '2.bin'):
        (snapshot / name).symlink_to(tmp_path / 'blobs' / name)
    assert read_state_dict(snapshot).keys() == WEIGHTS.keys()


@pytest.mark.parametrize('way', ['../secret.bin', 'x/../../secret.bin', '/absolute', 'sub/3.bin'])
def test_an_index_that_points_elsewhere_is_refused(way, tmp_path) -> None:
    secret = tmp_path / 'secret.bin'
    way = str(secret) if way == '/absolute' else way
    index = write(tmp_path / 'model', d=way)
    (tmp_path / 'model' / 'x').mkdir()
    (tmp_path / 'model' / 'sub').mkdir()
    for path in (secret, tmp_path / 'model' / 'sub' / '3.bin'):
        torch.save({'d': torch.zeros(1)}, path)
    assert os.path.exists(tmp_path / 'model' / way), 'the file asked for must be there'
    assert f'{index} was refused: it asks for {way}, ' in refusal(index)


@pytest.mark.parametrize('name', ['', '.', '..', 'a\\b.bin', 'config.json', INDEX, 'run.py'])
def test_names_that_are_no_shards_are_refused(name, tmp_path) -> None:
    index = write(tmp_path, d=name)
    assert 'was refused' in refusal(index)


def test_missing_shards_are_named(tmp_path) -> None:
    index = write(tmp_path, d='3.safetensors', e='4.bin')
    assert refusal(index) == (f'{index}: 2 of its 4 shards are not beside it: 3.safetensors, 4.bin')


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (
            {'d': '1.safetensors'},
            '1.safetensors does not hold what the index says, 1 tensors differ: d',
        ),
        ({'b': '2.bin'}, '1.safetensors does not hold what the index says, 1 tensors differ: b'),
        (
            {'c': '1.safetensors'},
            '1.safetensors does not hold what the index says, 1 tensors differ',
        ),
    ],
    ids=['missing', 'not listed', 'elsewhere'],
)
def test_a_shard_that_holds_other_tensors(changes, said, tmp_path) -> None:
    assert said in refusal(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'is not JSON'),
        ('{"weight_map"', 'is not JSON'),
        ('[' * 100_000, 'is not JSON'),
        ('1' * 10_000, 'is not JSON'),
        ('[]', 'has no weight_map'),
        ('{"weight_map": {}}', 'has no weight_map'),
        ('{"weight_map": ["a"]}', 'has no weight_map'),
        ('{"weight_map": {"a": 1}}', 'must hold file names'),
        (' ' * LARGEST_INDEX + '{}', 'is too large for an index of shards'),
    ],
    ids=['empty', 'cut', 'deep', 'number', 'list', 'no shards', 'no map', 'no names', 'large'],
)
def test_an_index_that_is_none(text, said, tmp_path) -> None:
    (tmp_path / INDEX).write_text(text)
    assert said in refusal(tmp_path / INDEX)


def test_a_malicious_shard_is_not_run(tmp_path) -> None:
    index, marker = write(tmp_path), tmp_path / 'marker'
    torch.save({'c': Touch(os.mkdir, str(marker))}, tmp_path / '2.bin')
    with pytest.raises(CheckpointError, match=r'2\.bin was refused: it asks to call \w+\.mkdir'):
        read_state_dict(index)
    assert not marker.exists()


def test_a_damaged_shard_is_named(tmp_path) -> None:
    index = write(tmp_path)
    (tmp_path / '1.safetensors').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'1\.safetensors is empty$'):
        read_state_dict(index)


def test_a_folder_of_training_names_its_checkpoints(tmp_path) -> None:
    assert refusal(tmp_path).endswith('pytorch_model.bin or an index of shards')
    for name in ('epoch_1.pth', 'epoch_2.pth', 'config.py'):
        (tmp_path / name).touch()
    assert refusal(tmp_path).endswith('; give one of its files: epoch_1.pth, epoch_2.pth')
