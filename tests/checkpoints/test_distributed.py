"""Folders of torch.distributed.checkpoint give what torch's own reader gives, and run nothing."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import MetadataIndex

from sta.checkpoints import load_checkpoint, read_state_dict
from sta.checkpoints.read import read_contents
from tests.checkpoints.sources import (
    Touch,
    authors_names,
    logits,
    optimizer_state,
    recognizer,
    refusal,
    weights_of,
)

pytestmark = [
    pytest.mark.skipif(not hasattr(dcp, 'save'), reason='torch < 2.2 has no save'),
    pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::FutureWarning'),
]


def saved(folder: Path, content: dict) -> Path:
    dcp.save(content, checkpoint_id=folder)
    return folder


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Path:
    """A model and its optimizer."""
    content = {
        'model': authors_names(weights_of(recognizer(seed=2))),
        'optimizer': optimizer_state(),
        'epoch': 3,
    }
    return saved(tmp_path_factory.mktemp('distributed') / 'saved', content)


def test_the_weights_of_a_folder(whole) -> None:
    model = recognizer(seed=1)
    report = load_checkpoint(model, whole)
    assert torch.equal(logits(model), logits(recognizer(seed=2)))
    assert report.path == str(whole) and report.notes == ()
    assert read_contents(whole).beside == ('optimizer',)


def test_what_torch_itself_reads(whole, tmp_path) -> None:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    dcp_to_torch_save(whole, tmp_path / 'one.pth')
    expected = torch.load(tmp_path / 'one.pth')['model']
    found = read_state_dict(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_averaged_weights_beside_them(tmp_path) -> None:
    content = {'model': weights_of(recognizer(seed=2)), 'model_ema': weights_of(recognizer(seed=3))}
    folder = saved(tmp_path / 'saved', content)
    model = recognizer(seed=1)
    assert 'not the averaged weights (EMA) of model_ema' in str(load_checkpoint(model, folder))
    assert torch.equal(logits(model), logits(recognizer(seed=2)))
    load_checkpoint(model, read_state_dict(folder, take='model_ema'))
    assert torch.equal(logits(model), logits(recognizer(seed=3)))


def rewritten(folder: Path, change) -> Path:
    """The index changed by its own classes."""
    index = pickle.loads((folder / '.metadata').read_bytes())
    change(index)
    (folder / '.metadata').write_bytes(pickle.dumps(index))
    return folder


@pytest.fixture
def small(tmp_path) -> Path:
    return saved(tmp_path / 'saved', {'model': {'a': torch.arange(12.0).view(4, 3)}})


def split(index, offsets=((0, 0), (3, 0)), sizes=((3, 3), (1, 3))) -> None:
    """The tensor in two parts, of which the second is read from a file of its own."""
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

    chunks = [
        ChunkStorageMetadata(torch.Size(offset), torch.Size(size))
        for offset, size in zip(offsets, sizes)
    ]
    index.state_dict_metadata['model.a'].chunks = chunks
    (info,) = index.storage_data.values()
    index.storage_data = {}
    for i, offset in enumerate(offsets):
        place = type(info)(relative_path=f'__{i}_0.distcp', offset=0, length=10**6)
        index.storage_data[MetadataIndex('model.a', torch.Size(offset))] = place


def test_a_tensor_in_parts(small) -> None:
    whole = torch.arange(12.0).view(4, 3)
    for i, part in enumerate((whole[:3], whole[3:])):
        torch.save(part.clone(), small / f'__{i}_0.distcp')
    rewritten(small, split)
    assert torch.equal(read_state_dict(small)['a'], whole)
    torch.save(whole[3:].double(), small / '__1_0.distcp')
    said = 'model.a: __1_0.distcp holds something else than the index says'
    assert said in refusal(small)
    (small / '__1_0.distcp').unlink()
    assert 'model.a: __1_0.distcp is not there' in refusal(small)


@pytest.mark.parametrize(
    ('offsets', 'sizes'),
    [
        (((0, 0), (3, 0)), ((2, 3), (1, 3))),
        (((0, 0), (2, 0)), ((2, 3), (3, 3))),
        (((0, 0), (1, 0)), ((2, 3), (2, 3))),
        (((0, 0),), ((4,),)),
    ],
    ids=['a gap', 'beyond the end', 'twice', 'of another rank'],
)
def test_parts_that_do_not_fill_a_tensor(offsets, sizes, small) -> None:
    for i, size in enumerate(sizes):
        torch.save(torch.zeros(size), small / f'__{i}_0.distcp')
    rewritten(small, lambda index: split(index, offsets, sizes))
    assert 'model.a is not complete: its parts do not fill it' in refusal(small)


@pytest.mark.parametrize('way', ['../secret.distcp', '/secret.distcp', 'model.bin', 'a\\b.distcp'])
def test_an_index_that_points_elsewhere_is_refused(way, small) -> None:
    def change(index) -> None:
        for info in index.storage_data.values():
            info.relative_path = way

    torch.save(torch.zeros(4, 3), small.parent / 'secret.distcp')
    assert f'.metadata was refused: it asks for {way}, and parts are' in refusal(
        rewritten(small, change)
    )


@pytest.mark.parametrize('place', ['index', 'planner_data', 'part'])
@pytest.mark.parametrize('call', ['shell', 'eval', 'getattr'])
def test_an_attack_is_refused_and_does_not_run(call, place, small) -> None:
    marker = small / 'marker'
    attack = {
        'shell': Touch(os.mkdir, str(marker)),
        'eval': Touch(eval, f'open({str(marker)!r}, "w")'),
        'getattr': Touch(getattr, Touch(os.mkdir, str(marker)), '__class__'),
    }[call]
    if place == 'index':
        (small / '.metadata').write_bytes(pickle.dumps(attack))
    elif place == 'planner_data':
        rewritten(small, lambda index: setattr(index, 'planner_data', attack))
    else:
        torch.save(attack, small / '__0_0.distcp')

        def change(index) -> None:
            for info in index.storage_data.values():
                info.length = 10**6

        rewritten(small, change)
    message = refusal(small)
    assert ('asks to call' in message) is (place != 'part') and not marker.exists()
    assert ('cut off or damaged' in message) is (place == 'part')


def test_names_of_torch_are_records_and_no_calls(small) -> None:
    """A name below torch.distributed could be a function: none is looked up, let alone called."""
    from torch.distributed.checkpoint.format_utils import torch_save_to_dcp

    torch.save({'a': torch.zeros(2)}, small.parent / 'one.pth')
    call = Touch(torch_save_to_dcp, str(small.parent / 'one.pth'), str(small.parent / 'marker'))
    rewritten(small, lambda index: setattr(index, 'storage_meta', call))
    assert read_state_dict(small).keys() == {'a'}
    assert not (small.parent / 'marker').exists()


def test_a_tensor_larger_than_its_file(small) -> None:
    """One number, repeated without being stored: nothing that large is made of it."""
    size = (10**7, 10**6)
    torch.save(torch.zeros(1).expand(size), small / '__0_0.distcp')

    def change(index) -> None:
        split(index, ((0, 0),), (size,))
        index.state_dict_metadata['model.a'].size = torch.Size(size)

    rewritten(small, change)
    assert 'holds something else than the index says' in refusal(small)


@pytest.mark.parametrize('share', [0, 0.3, 0.99])
def test_a_cut_index(share, small) -> None:
    data = (small / '.metadata').read_bytes()
    (small / '.metadata').write_bytes(data[: int(len(data) * share)])
    said = '.metadata cannot be read as an index of torch.distributed.checkpoint'
    assert said in refusal(small) and 'dcp_to_torch' in refusal(small)


def test_a_cut_part(small) -> None:
    data = (small / '__0_0.distcp').read_bytes()
    (small / '__0_0.distcp').write_bytes(data[:-300])
    assert 'model.a: __0_0.distcp is cut off or damaged' in refusal(small)


def test_one_file_of_a_folder_says_what_to_give(small, tmp_path) -> None:
    command = (
        f'python -m torch.distributed.checkpoint.format_utils dcp_to_torch {small} FILE.pth (it '
        f'runs code that the folder holds: trust it first)'
    )
    for name in ('__0_0.distcp', '.metadata'):
        assert refusal(small / name) == (
            f'{small / name} is one part of a folder of torch.distributed.checkpoint (FSDP): give '
            f'the folder {small}; one file of it: {command}'
        )
    shutil.move(small / '.metadata', tmp_path / '.metadata')
    assert 'its index .metadata is not beside it' in refusal(small / '__0_0.distcp')
    assert 'its index .metadata is not there' in refusal(small)
