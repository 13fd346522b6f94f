"""Checkpoints that cannot be used end the evaluation with one clear line, and run no code."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from .tiny import Tiny

Refused = Callable[..., str]


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_missing_checkpoint(refused: Refused, tiny: Tiny) -> None:
    refused('test', tiny.one_view, 'no.pth', said=('checkpoint no.pth does not exist',))


def test_a_folder(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    refused('test', tiny.one_view, tmp_path, said=(str(tmp_path), 'is a folder'))


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('model.backbone.depth=4', ('13 missing', 'blocks.3', '3 blocks of width 24')),
        ('model.backbone.depth=2', ('13 unexpected', 'blocks.2', '3 blocks of width 24')),
        ('model.cls_head.num_classes=9', ('(7,) instead of (9,)', 'and 7 classes')),
    ],
)
def test_weights_of_another_size(
    refused: Refused, tiny: Tiny, option: str, said: tuple[str, ...]
) -> None:
    # Without pruning: a schedule that does not fit would be found before the weights are read.
    arguments = (tiny.one_view, tiny.checkpoint, '--schedules', '0', '--cfg-options', option)
    refused('test', *arguments, said=(str(tiny.checkpoint), 'does not fit', *said))


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', '.bin'])
@pytest.mark.parametrize('content', [b'hello there\n' * 9, b''], ids=['text', 'empty'])
def test_a_file_that_is_no_checkpoint(
    refused: Refused, tiny: Tiny, tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f'notes{suffix}'
    path.write_bytes(content)
    refused('test', tiny.one_view, path, said=(str(path),))


def test_a_text_file_is_told_in_words(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / 'notes.pth').write_text('hello there\n' * 9)
    line = refused('test', tiny.one_view, tmp_path / 'notes.pth', said=())
    reason = line.rpartition(':')[2].strip()
    assert len(reason.split()) > 1


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('place', ['beside', 'weights'])
def test_a_malicious_pickle_is_not_run(
    refused: Refused, tiny: Tiny, tmp_path: Path, zipped: bool, place: str
) -> None:
    evil, path = Malicious(tmp_path / 'gotcha'), tmp_path / 'evil.pth'
    content = {'state_dict': {'a': torch.zeros(1)}, 'x': evil} if place == 'beside' else evil
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused('test', tiny.one_view, path, said=(str(path), 'refused'))
    assert not evil.path.exists()


def test_a_malicious_pickle_is_named(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / 'evil.pth'
    torch.save({'x': Malicious(tmp_path / 'gotcha')}, path)
    refused('test', tiny.one_view, path, said=('mkdir',))


def test_a_plain_pickle_is_refused_without_warnings(
    refused: Refused, tiny: Tiny, tmp_path: Path
) -> None:
    path = tmp_path / 'plain.pth'
    path.write_bytes(pickle.dumps({'x': Malicious(tmp_path / 'gotcha')}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        refused('test', tiny.one_view, path, said=(str(path), 'refused'))


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'<!DOCTYPE html><html>', 'is a web page, not the file itself: download it again'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'is a git-lfs pointer'),
        (b'\x1f\x8b' + bytes(90), 'is compressed: unpack it first'),
        (bytes(257) + b'ustar' + bytes(300), 'is a tar archive'),
        (b'PK\x03\x04' + bytes(90), 'is cut off or damaged'),
    ],
    ids=['web page', 'pointer', 'gzip', 'tar', 'cut zip'],
)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_files_given_by_mistake(
    refused: Refused, tiny: Tiny, tmp_path: Path, content: bytes, said: str, suffix: str
) -> None:
    path = tmp_path / f'file{suffix}'
    path.write_bytes(content)
    refused('test', tiny.one_view, path, said=(str(path), said))


def test_an_index_that_points_elsewhere(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    index = tmp_path / 'model' / 'model.safetensors.index.json'
    index.parent.mkdir()
    index.write_text('{"weight_map": {"a": "../secret.safetensors"}}')
    (tmp_path / 'secret.safetensors').write_bytes(b'secret')
    for source in (index, index.parent):
        said = (f'{index} was refused: it asks for ../secret.safetensors',)
        refused('test', tiny.one_view, source, said=said)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ({'epoch': 3}, 'holds no weights'),
        ({'state_dict': {}}, 'holds no weights'),
        ([torch.zeros(2)], 'holds no weights'),
        ({'state_dict': {'conv1.weight': torch.zeros(2)}}, 'conv1.weight'),
    ],
    ids=['no container', 'empty', 'list', 'another network'],
)
def test_a_file_without_our_weights(
    refused: Refused, tiny: Tiny, tmp_path: Path, content: object, said: str
) -> None:
    path = tmp_path / 'other.pth'
    torch.save(content, path)
    refused('test', tiny.one_view, path, said=(str(path), said))
