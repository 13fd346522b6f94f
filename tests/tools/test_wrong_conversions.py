"""Conversions that are refused or fail leave what was there, and say why in one line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest
import torch

from sta.checkpoints import read_state_dict
from tests.checkpoints.test_strangers import Touch

from .conversions import SUFFIXES, assert_equal, half_weights
from .tiny import Tiny, run_tool


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_nothing_is_written_over(authors, suffix, tiny, tmp_path, refused: Callable) -> None:
    target = tmp_path / f'out{suffix}'
    target.write_bytes(b'mine')
    said = f'{target} is there already: give another name, or --force to replace it'
    refused('convert_checkpoint', authors, target, said=(said,))
    assert target.read_bytes() == b'mine'
    assert run_tool('convert_checkpoint', authors, target, '--force') == 0
    assert_equal(read_state_dict(target), half_weights(tiny))


def test_a_failure_leaves_the_old_file(tmp_path, tiny, refused: Callable) -> None:
    """Also with --force: the new one is put in its place when it is whole."""
    target, source = tmp_path / 'out.pth', tmp_path / 'in.pth'
    target.write_bytes(b'mine')
    weights = half_weights(tiny)
    weights['backbone.fc_norm.bias'][3] = float('nan')
    torch.save(weights, source)
    said = f'{source}: backbone.fc_norm.bias holds NaN or infinity'
    refused('convert_checkpoint', source, target, '--force', said=(said,))
    assert target.read_bytes() == b'mine'


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_an_interrupted_writing_leaves_nothing(
    authors, suffix, tmp_path, monkeypatch, refused: Callable
) -> None:
    def fail(source: str, target: str) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    refused('convert_checkpoint', authors, tmp_path / f'out{suffix}', said=('No space left',))
    assert [path.name for path in tmp_path.iterdir()] == ['authors.pth']


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_the_file_is_readable_as_any_other(authors, suffix, tmp_path) -> None:
    assert run_tool('convert_checkpoint', authors, tmp_path / f'out{suffix}') == 0
    (tmp_path / 'other').touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (f'out{suffix}', 'other')}
    assert len(modes) == 1


@pytest.mark.parametrize('name', ['out.bin', 'out', 'out.PTH', 'out.pth.tar'])
def test_other_suffixes_are_refused(name, tmp_path, refused: Callable) -> None:
    """Before anything is read, which can take a while."""
    said = f'weights are written as .safetensors or .pth, got {tmp_path / name}'
    refused('convert_checkpoint', 'no.pth', tmp_path / name, said=(said,))


def test_a_folder_as_target_is_refused(authors, tmp_path, refused: Callable) -> None:
    (tmp_path / 'out.pth').mkdir()
    refused('convert_checkpoint', authors, tmp_path / 'out.pth', '--force', said=('is a folder',))


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('model.backbone.depth=4', ('13 missing', 'blocks.3', '3 blocks of width 24')),
        ('model.cls_head.num_classes=9', ('(7,) instead of (9,)', 'and 7 classes')),
    ],
)
def test_a_config_must_fit(authors, option, said, tiny: Tiny, tmp_path, refused: Callable) -> None:
    target = tmp_path / 'out.pth'
    arguments = (authors, target, '--config', tiny.one_view, '--cfg-options', option)
    refused('convert_checkpoint', *arguments, said=(str(authors), 'does not fit', *said))
    assert not target.exists()


def test_options_without_a_config(authors, tmp_path, refused: Callable) -> None:
    arguments = (authors, tmp_path / 'out.pth', '--cfg-options', 'model.backbone.depth=4')
    refused('convert_checkpoint', *arguments, said=('give --config as well',))


def test_a_malicious_source_is_not_run(tmp_path, refused: Callable) -> None:
    evil = {'model': {'a': Touch(os.mkdir, str(tmp_path / 'gotcha'))}}
    torch.save(evil, tmp_path / 'evil.pth')
    said = ('was refused: it asks to call', 'mkdir')
    refused('convert_checkpoint', tmp_path / 'evil.pth', tmp_path / 'out.pth', said=said)
    assert not (tmp_path / 'gotcha').exists() and not (tmp_path / 'out.pth').exists()


def test_a_missing_source(tmp_path, refused: Callable) -> None:
    refused('convert_checkpoint', 'no.pth', tmp_path / 'out.pth', said=('no.pth does not exist',))


def test_a_name_that_is_not_in_the_file(authors, tmp_path, refused: Callable) -> None:
    said = f'{authors} has nothing under model_ema; it has '
    refused('convert_checkpoint', authors, tmp_path / 'a.pth', '--take', 'model_ema', said=(said,))
    assert not (tmp_path / 'a.pth').exists()
