"""Exported files give the same logits in a process without sta, and say what goes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.export import check as checking
from sta.export import run_file
from sta.export import write as export_writing
from sta.export import write as onnx_model

from .tiny import ROOT, Tiny, run_tool, save_weights

CASES = [
    ('onnx', 'sta', '4', 'uint8'),
    ('onnx', 'vid-tldr', '2', 'float'),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ('onnx', 'sta', '0', 'normalised'),
            ('onnx', 'tome', '2', 'normalised'),
            ('onnx', 'tome-drop', '2', 'normalised'),
            ('onnx', 'semantic', '4', 'normalised'),
            ('onnx', 'temporal', '4', 'normalised'),
            ('onnx', 'sta:first_frame=tome_rounds,similarity=ffn', '4', 'normalised'),
            ('onnx', 'sta:affinity=dot,previous=kept', '4', 'normalised'),
            ('pt2', 'random', '4', 'normalised'),
            ('pt2', 'sta', '4', 'uint8'),
            ('pt2', 'tube-random', '4', 'normalised'),
            ('pt2', 'sta:first_frame=grid', '4', 'normalised'),
        )
    ),
]

# Where neither pruning nor sizes of batches matter.
QUICK = ('--schedule', '0', '--format', 'pt2', '--batch-size', '1')


def logits_elsewhere(path: Path, clips: np.ndarray, folder: Path) -> np.ndarray:
    """From a fresh process that cannot import sta, in an empty folder, by a copy of the script."""
    script = folder / 'alone.py'
    script.write_text(Path(run_file.__file__).read_text())
    np.save(folder / 'clips.npy', clips)
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    code = (
        'import sys, runpy; sys.modules["sta"] = None; sys.modules["mmaction"] = None; '
        'runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    code = code.replace('sys.argv[0]', repr(str(script)))
    command = [sys.executable, '-c', code, path, 'clips.npy', 'logits.npy']
    subprocess.run([str(c) for c in command], cwd=folder, env=environment, check=True)
    return np.load(folder / 'logits.npy')


def eager(tiny: Tiny, clips: torch.Tensor, pruner: str, schedule: int) -> np.ndarray:
    """What the recognizer itself says of frames."""
    from sta.pruning import chosen_variants

    model = build_model(load_config(str(tiny.one_view))).eval()
    load_checkpoint(model, str(tiny.checkpoint))
    variant = chosen_variants({}, schedules=[str(schedule)], pruners=[pruner])[-1]
    data = {'inputs': list(clips), 'data_samples': [None] * len(clips)}
    with torch.no_grad(), model.backbone.using(variant):
        inputs = model.data_preprocessor(data, training=False)['inputs']
        return model.extract_feat(inputs.unsqueeze(1), stage='head')[0].numpy()


def given(frames: torch.Tensor, pixels: str, side: dict) -> np.ndarray:
    """Frames as the file's description asks for them."""
    if pixels == 'uint8':
        return frames.numpy()
    values = frames.numpy().astype(np.float32)
    if pixels == 'float':
        return values
    mean, std = (np.float32(side['input'][key]).reshape(3, 1, 1, 1) for key in ('mean', 'std'))
    return (values - mean) / std


@pytest.mark.parametrize(('file_format', 'pruner', 'schedule', 'pixels'), CASES)
def test_a_fresh_process_computes_the_same(
    tiny: Tiny, tmp_path: Path, file_format: str, pruner: str, schedule: str, pixels: str
) -> None:
    pytest.importorskip('onnxruntime')
    out = tmp_path / f'model.{file_format}'
    arguments = ('--schedule', schedule, '--pruner', pruner, '--input', pixels, '--out', out)
    arguments += ('--format', file_format)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, f'{out.name}.json']
    side = json.loads(Path(f'{out}.json').read_text())
    picture = torch.randint(0, 170, (5, 3, 1, 32, 32))
    frames = (picture + torch.randint(0, 86, (5, 3, 16, 32, 32))).to(torch.uint8)
    logits = logits_elsewhere(out, given(frames, pixels, side), tmp_path)
    apart = np.abs(logits - eager(tiny, frames, pruner, int(schedule))).max(1)
    # One clip may have two tokens of nearly equal score, see sta.export.check.
    assert (apart < 1e-4).sum() >= 4, apart
    assert list(side['verified']['differences']) == ['3', '2', '1']
    for differences in side['verified']['differences'].values():
        assert len(differences) == 6 and max(differences) < 1e-4


@pytest.mark.parametrize('file_format', ['onnx', pytest.param('pt2', marks=pytest.mark.slow)])
def test_video_swin_goes_into_both_formats(tiny: Tiny, tmp_path: Path, file_format: str) -> None:
    """One batch size, and the head that pools a map of what is left."""
    pytest.importorskip('onnxruntime')
    config = tmp_path / 'swin.py'
    config.write_text(f"""\
_base_ = [{str(ROOT)!r} + '/configs/_base_/models/sta_swin.py']
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=8, depths=[2, 2], num_heads=[2, 2]),
        patch_size=(2, 4, 4), window_size=(2, 3, 3), num_frames=4, img_size=32,
    ),
    cls_head=dict(num_classes=6, in_channels=16),
)
""")
    weights = tmp_path / 'weights.safetensors'
    save_weights(config, weights)
    out = tmp_path / 'made' / f'swin.{file_format}'
    arguments = ('--schedule', '[6]', '--format', file_format, '--batch-size', '2')
    assert run_tool('export', config, weights, *arguments, '--out', out) == 0
    side = json.loads(Path(f'{out}.json').read_text())
    assert side['input']['shape'] == [2, 3, 4, 32, 32]
    assert side['output']['shape'] == [2, 6]
    [(size, differences)] = side['verified']['differences'].items()
    assert size == '2' and len(differences) == 6 and max(differences) < 1e-4


def test_weights_too_large_for_one_file_lie_beside_it(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('onnxruntime')
    monkeypatch.setattr(onnx_model, 'MAX_BYTES', 0)
    out = tmp_path / 'made' / 'model.onnx'
    arguments = ('--schedule', '0', '--out', out)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ['model.onnx', 'model.onnx.data', 'model.onnx.json']
    clips = np.zeros((2, 3, 16, 32, 32), np.float32)
    assert logits_elsewhere(out, clips, tmp_path).shape == (2, 7)


def test_the_description_says_what_was_exported(tiny: Tiny, tmp_path: Path) -> None:
    arguments = ('--schedule', '4', '--format', 'pt2', '--pruner', 'sta:score=temporal')
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    [out] = tmp_path.glob('work_dirs/one_view/*.pt2')
    side = json.loads(Path(f'{out}.json').read_text())
    assert side['variant'] == out.stem == 'temporal-4'
    assert side['pruner'] == {'type': 'STAPruner', 'score': 'temporal'}
    assert [stage['num_drop'] for stage in side['schedule']] == [4, 4, 4]
    assert side['tokens_after_stages'] == [96, 80, 72]
    assert side['input']['mean'] == [123.675, 116.28, 103.53]
    assert side['input']['values'] == 'float32: (RGB from 0 to 255, less mean) / std'
    assert side['input']['shape'] == ['batch', 3, 16, 32, 32]
    assert side['output']['shape'] == ['batch', 7]
    assert side['command'].endswith('--pruner sta:score=temporal')
    assert side['versions']['torch'] == torch.__version__
    assert side['checkpoint'] == str(tiny.checkpoint)


@pytest.mark.parametrize('option', ['test_dataloader=None', 'test_dataloader.dataset=None'])
def test_a_config_without_data_names_no_classes(tiny: Tiny, tmp_path: Path, option: str) -> None:
    out = tmp_path / 'model.pt2'
    arguments = (*QUICK, '--out', out, '--cfg-options', option)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    assert json.loads(Path(f'{out}.json').read_text())['classes'] is None


def test_a_config_without_normalisation_is_not_said_to_have_any(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / 'model.pt2'
    arguments = (*QUICK, '--out', out, '--cfg-options', 'model.data_preprocessor=None')
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    given = json.loads(Path(f'{out}.json').read_text())['input']
    assert given['mean'] is given['std'] is None
    assert given['values'] == (
        'float32: RGB as the test pipeline gives it; the config has no mean and std'
    )


def test_a_file_that_computes_something_else_is_not_left_behind(
    tiny: Tiny, tmp_path: Path, refused: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(path: Path, batches: list[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros((len(clips), 7), np.float32) for clips in batches]

    monkeypatch.setattr(checking, '_run_elsewhere', elsewhere)
    out = tmp_path / 'made' / 'model.pt2'
    arguments = ('--schedule', '4', '--format', 'pt2', '--out', out)
    said = ('computes something else, nothing was written', 'batches of 3', '6 of 6 clips')
    refused('export', tiny.one_view, tiny.checkpoint, *arguments, said=said)
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_writing, 'compare', interrupt)
    out = tmp_path / 'made' / 'model.pt2'
    arguments = (*QUICK, '--out', out)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 130
    assert list(out.parent.iterdir()) == []
