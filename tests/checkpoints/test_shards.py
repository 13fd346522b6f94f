"""Folders and indices of shards: only files beside the index are opened, and all must be there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sta.checkpoints import read_state_dict
from sta.checkpoints.read import LARGEST_INDEX
from sta.errors import CheckpointError
from tests.checkpoints.sources import Touch, refusal

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
    (tmp_path / 'checkpoint-500').mkdir()
    torch.save(WEIGHTS, tmp_path / 'checkpoint-500' / 'pytorch_model.bin')
    assert refusal(tmp_path).endswith('epoch_2.pth; give one of its folders: checkpoint-500')
    assert read_state_dict(tmp_path / 'checkpoint-500').keys() == WEIGHTS.keys()


def test_a_folder_of_an_adapter(tmp_path) -> None:
    config = tmp_path / 'adapter_config.json'
    for text, base in (
        ('{"base_model_name_or_path": "MCG-NJU/videomae-base"}', ' (MCG-NJU/videomae-base)'),
        ('{"peft_type": "LORA"}', ''),
        ('[', ''),
        ('[]', ''),
    ):
        config.write_text(text)
        said = f'is an adapter (LoRA, PEFT) without the model it belongs to{base}: merge them, Peft'
        assert said in refusal(tmp_path)
    assert refusal(config).endswith(f'holds no weights: give its folder {tmp_path}')
    save_file(WEIGHTS, tmp_path / 'model.safetensors')
    assert 'holds a whole model and an adapter (LoRA, PEFT) beside it: give ' in refusal(tmp_path)


def deepspeed(folder: Path, step: str, *names: str) -> Path:
    """A folder as DeepSpeed leaves it, with a script that must never run."""
    (folder / step).mkdir(parents=True)
    (folder / 'zero_to_fp32.py').write_text(f'open({str(folder / "marker")!r}, "w")')
    for name in names:
        content = {'module': WEIGHTS, 'ds_config': {}, 'ds_version': '0.16', 'param_shapes': []}
        torch.save(content, folder / step / name)
    return folder


def test_deepspeed_with_whole_weights(tmp_path) -> None:
    folder = deepspeed(tmp_path / 'a', 'global_step9', 'mp_rank_00_model_states.pt')
    for source in (folder, folder / 'global_step9'):
        assert read_state_dict(source).keys() == WEIGHTS.keys()
    deepspeed(tmp_path / 'b' / 'c', 'global_step10', 'mp_rank_00_model_states.pt')
    (tmp_path / 'b' / 'c' / 'global_step10').rename(folder / 'global_step10')
    said = 'holds several steps of DeepSpeed: give one, global_step10, global_step9'
    assert refusal(folder).endswith(said)
    (folder / 'latest').write_text('global_step10\n')
    assert read_state_dict(folder).keys() == WEIGHTS.keys()
    (folder / 'latest').write_text('../../b')
    assert 'latest names ../../b, whose weights are not there; give one of its' in refusal(folder)
    assert not (folder / 'marker').exists()


@pytest.mark.parametrize(
    ('names', 'what'),
    [
        (['zero_pp_rank_0_mp_rank_00_model_states.pt'], 'DeepSpeed ZeRO-3'),
        (['mp_rank_00_model_states.pt', 'mp_rank_01_model_states.pt'], 'DeepSpeed'),
    ],
)
def test_deepspeed_with_split_weights(names, what, tmp_path) -> None:
    folder = deepspeed(tmp_path / 'a b', 'global_step9', *names)
    assert refusal(folder) == (
        f'checkpoint {folder} is of {what}, whose weights are split among {len(names)} files: '
        f"python -m deepspeed.utils.zero_to_fp32 '{folder}' TARGET makes one file of them"
    )
    states = folder / 'global_step9' / 'bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt'
    torch.save({}, states)
    assert "is the state of DeepSpeed's optimizer: give mp_rank_00_model_states.pt" in refusal(
        states
    )
    assert not (folder / 'marker').exists()


def test_a_folder_of_megatron(tmp_path) -> None:
    (tmp_path / 'latest_checkpointed_iteration.txt').write_text('500')
    assert 'is of Megatron-LM, whose weights are split' in refusal(tmp_path)
