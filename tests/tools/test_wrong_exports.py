"""What tools/export.py refuses takes one line, comes early and leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .tiny import Tiny


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--schedule', '999'], ('cannot drop 999 of 16 tokens',)),
        (['--schedule', 'much'], ("schedule 'much' is not understood",)),
        (['--schedule', '4', '--pruner', 'rlt'], ('RunLengthPruner', 'fixed shapes')),
        (['--schedule', '4', '--pruner', 'random'], ('RandomPruner draws', '--format pt2')),
        (['--schedule', '4', '--pruner', 'nothing'], ("unknown pruner 'nothing'",)),
        (['--schedule', '4', '--batch-size', '0'], ('--batch-size must be at least 1',)),
        (['--schedule', '4', '--tolerance', '2'], ('--tolerance',)),
        (['--schedule', '4', '--out', 'model.pt2'], ('must end in .onnx',)),
        (['--schedule', '4', '--out', 'taken.onnx'], ('taken.onnx exists already',)),
        (['--schedule', '4', '--out', 'beside.onnx'], ('beside.onnx.data exists already',)),
        (['--schedule', '4', '--out', 'taken.onnx/m.onnx'], ('m.onnx cannot be written', 'taken')),
        (['--schedule', '4', '--out', '/proc/b.onnx'], ('/proc/b.onnx cannot be written',)),
    ],
)
def test_mistakes_take_one_line(
    tiny: Tiny, tmp_path: Path, refused: Callable, arguments: list[str], said: tuple[str, ...]
) -> None:
    names = ['beside.onnx.data', 'taken.onnx']
    for name in names:
        (tmp_path / name).write_text('')
    refused('export', tiny.one_view, tiny.checkpoint, *arguments, said=said)
    assert sorted(p.name for p in tmp_path.iterdir()) == names


@pytest.mark.parametrize('out', ['/proc/b.onnx', 'file/b.onnx', 'beside.onnx'])
def test_a_place_that_will_not_do_is_refused_before_any_work(
    tiny: Tiny, tmp_path: Path, refused: Callable, out: str
) -> None:
    (tmp_path / 'file').write_text('')
    (tmp_path / 'beside.onnx.data').write_text('')
    # The checkpoint, which is missing, would be complained about first.
    refused('export', tiny.one_view, 'gone.pth', '--schedule', '4', '--out', out, said=(out,))


def test_without_onnx_it_says_what_to_install(
    tiny: Tiny, refused: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    said = ('--format onnx needs onnxscript: pip install', '--format pt2')
    refused('export', tiny.one_view, tiny.checkpoint, '--schedule', '4', said=said)


def test_a_wrong_checkpoint_or_format(tiny: Tiny, refused: Callable, misused: Callable) -> None:
    refused('export', tiny.one_view, 'gone.pth', '--schedule', '4', said=('gone.pth',))
    misused('export', tiny.one_view, tiny.checkpoint, '--schedule', '4', '--format', 'tf', said=())
