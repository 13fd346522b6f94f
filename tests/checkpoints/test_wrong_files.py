"""Damaged files and files that are no checkpoints: one line says what is wrong."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sta.checkpoints import CheckpointError, read_state_dict
from tests.checkpoints.refusals import refusal
from tests.checkpoints.sources import WRAPPINGS, recognizer, weights_of

pytestmark = pytest.mark.filterwarnings('ignore:Detected pickle protocol:UserWarning')


def saved_bytes(is_zip: bool) -> bytes:
    file = io.BytesIO()
    content = WRAPPINGS['model'](weights_of(recognizer()))
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.001, 0.02, 0.3, 0.7, 0.999])
def test_a_truncated_file(share, is_zip, tmp_path) -> None:
    data = saved_bytes(is_zip)
    (tmp_path / 'cut.pth').write_bytes(data[: int(len(data) * share)])
    refusal(tmp_path / 'cut.pth')


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
def test_damaged_files_load_or_are_refused(is_zip, tmp_path) -> None:
    """Five changed bytes: never an error of another kind, which would be a traceback."""
    data, refused = saved_bytes(is_zip), 0
    draw, path = random.Random(0), tmp_path / 'damaged.pth'
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(5):
            damaged[draw.randrange(6000)] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except CheckpointError as error:
            refused += 1
            assert '\n' not in str(error)
    assert refused > 50


def zip_of(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file.getvalue()


NO_CHECKPOINTS = {
    'empty': (b'', 'is empty'),
    'text': (b'accuracy 81.5\n' * 40, "it starts with b'accuracy 81.5"),
    'web page': (b'<!DOCTYPE html><html>404</html>', "it starts with b'<!DOCTYPE html>"),
    'pointer': (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n', 'git lfs pull'),
    'zip': (zip_of(notes='no weights here'), 'cannot be read as a checkpoint'),
    'zip of folders': (zip_of(**{'a/notes.txt': 'none'}), 'cannot be read as a checkpoint'),
    'pickle': (pickle.dumps({'a': [1, 2]}), 'not those of a plain torch checkpoint'),
}


@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_files_that_are_no_checkpoints(kind, tmp_path) -> None:
    content, reason = NO_CHECKPOINTS[kind]
    (tmp_path / 'ckpt.pth').write_bytes(content)
    message = refusal(tmp_path / 'ckpt.pth')
    assert reason in message
    # torch's own advice is to switch its protection off
    assert 'weights_only' not in message and 'Re-running' not in message


@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_files_that_are_no_safetensors(kind, tmp_path) -> None:
    (tmp_path / 'ckpt.safetensors').write_bytes(NO_CHECKPOINTS[kind][0])
    reasons = {'empty': 'is empty', 'pointer': 'git lfs pull'}
    expected = reasons.get(kind, 'cannot be read as a checkpoint')
    assert expected in refusal(tmp_path / 'ckpt.safetensors')


@pytest.mark.skipif(
    not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read everything'
)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_file_one_may_not_read(suffix, tmp_path) -> None:
    path = tmp_path / f'ckpt{suffix}'
    path.write_bytes(saved_bytes(is_zip=True))
    path.chmod(0)
    assert 'ermission' in refusal(path)


@pytest.mark.skipif(not Path('/proc/self/mem').exists(), reason='needs the /proc of Linux')
def test_a_disk_that_fails_while_reading() -> None:
    """The first page of a process is a file whose reading fails, whoever asks."""
    assert 'nput/output error' in refusal('/proc/self/mem')


def test_a_truncated_safetensors_file(tmp_path) -> None:
    path = tmp_path / 'ckpt.safetensors'
    save_file({'a': torch.arange(100.0)}, path)
    path.write_bytes(path.read_bytes()[:-7])
    assert 'cannot be read as a checkpoint' in refusal(path)


def test_a_missing_file_and_a_folder(tmp_path) -> None:
    missing = tmp_path / 'none.pth'
    assert refusal(missing) == f'checkpoint {missing} does not exist'
    assert refusal(tmp_path) == f'checkpoint {tmp_path} is a folder, not a file'


@pytest.mark.parametrize(
    'content',
    [
        {'weights': {'a': torch.zeros(1)}},
        [{'a': torch.zeros(1)}],
        torch.zeros(3),
        {'model': None},
        {'model': {'layers': {'a': torch.zeros(1)}}},
        {},
        'a string',
    ],
    ids=['other name', 'list', 'tensor', 'none', 'nested', 'empty', 'string'],
)
def test_containers_without_named_tensors(content, tmp_path) -> None:
    torch.save(content, tmp_path / 'ckpt.pth')
    said = refusal(tmp_path / 'ckpt.pth')
    inner = content.get('model') or content if isinstance(content, dict) else content
    held = f'a dict of {sorted(inner)}' if isinstance(inner, dict) else type(inner).__name__
    assert f'ckpt.pth holds no weights but {held}: expected named tensors, or a dict with ' in said


def test_a_tensor_beside_the_container_does_not_hide_the_weights(tmp_path) -> None:
    weights = weights_of(recognizer())
    torch.save({'epoch': torch.tensor(3), 'model': weights}, tmp_path / 'ckpt.pth')
    assert set(read_state_dict(tmp_path / 'ckpt.pth')) == set(weights)


def test_an_optimizer_first_does_not_hide_the_weights(tmp_path) -> None:
    weights = weights_of(recognizer())
    content = {'optimizer': {'state': {0: {'exp_avg': torch.zeros(2)}}}, 'state_dict': weights}
    torch.save(content, tmp_path / 'ckpt.pth')
    assert set(read_state_dict(tmp_path / 'ckpt.pth')) == set(weights)
