"""Exported files give the same logits in a process without sta, and say what goes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
from sta.pruning import chosen_variants

from .tiny import ROOT, Tiny, run_tool, save_weights

CASES = [
    ('onnx', 'sta:score=temporal', '4', 'normalised'),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ('onnx', 'sta', '0', 'normalised'),
            ('onnx', 'sta', '4', 'uint8'),
            ('onnx', 'vid-tldr', '2', 'float'),
            ('onnx', 'tome', '2', 'normalised'),
            ('onnx', 'tome-drop', '2', 'normalised'),
            ('onnx', 'semantic', '4', 'normalised'),
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
        f'runpy.run_path({str(script)!r}, run_name="__main__")'
    )
    command = [sys.executable, '-c', code, str(path), 'clips.npy', 'logits.npy']
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return np.load(folder / 'logits.npy')


def eager(tiny: Tiny, clips: torch.Tensor, pruner: str, schedule: str) -> np.ndarray:
    """What the recognizer itself says of frames."""
    model = build_model(load_config(str(tiny.one_view))).eval()
    load_checkpoint(model, str(tiny.checkpoint))
    variant = chosen_variants({}, schedules=[schedule], pruners=[pruner])[-1]
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


def side_of(out: Path) -> dict:
    return json.loads(Path(f'{out}.json').read_text())


@pytest.mark.parametrize(('file_format', 'pruner', 'schedule', 'pixels'), CASES)
def test_a_fresh_process_computes_the_same(
    tiny, tmp_path, file_format, pruner, schedule, pixels
) -> None:
    pytest.importorskip('onnxruntime')
    arguments = ('--schedule', schedule, '--pruner', pruner, '--input', pixels)
    arguments += ('--format', file_format)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    [folder] = tmp_path.glob('work_dirs/one_view')
    [out] = folder.glob(f'*.{file_format}')
    assert sorted(p.name for p in folder.iterdir()) == [out.name, f'{out.name}.json']
    side = side_of(out)
    picture = torch.randint(0, 170, (5, 3, 1, 32, 32))
    frames = (picture + torch.randint(0, 86, (5, 3, 16, 32, 32))).to(torch.uint8)
    logits = logits_elsewhere(out, given(frames, pixels, side), tmp_path)
    apart = np.abs(logits - eager(tiny, frames, pruner, schedule)).max(1)
    # One clip may have two tokens of nearly equal score, see sta.export.check.
    assert (apart < 1e-4).sum() >= 4, apart
    assert list(side['verified']['differences']) == ['3', '2', '1']
    for differences in side['verified']['differences'].values():
        assert len(differences) == 6 and max(differences) < 1e-4
    assert side['input']['shape'] == ['batch', 3, 16, 32, 32]
    assert side['output']['shape'] == ['batch', 7]
    assert side['versions']['torch'] == torch.__version__
    assert side['checkpoint'] == str(tiny.checkpoint)
    if (pruner, pixels) != ('sta:score=temporal', 'normalised'):
        return
    assert side['variant'] == out.stem == 'temporal-4'
    assert side['pruner'] == {'type': 'STAPruner', 'score': 'temporal'}
    assert [stage['num_drop'] for stage in side['schedule']] == [4, 4, 4]
    assert side['tokens_after_stages'] == [96, 80, 72]
    assert side['input']['mean'] == [123.675, 116.28, 103.53]
    assert side['input']['values'] == 'float32: (RGB from 0 to 255, less mean) / std'
    assert (
        f'--pruner sta:score=temporal --input normalised --format {file_format}'
        in (side['command'])
    )


@pytest.mark.parametrize('file_format', ['pt2', pytest.param('onnx', marks=pytest.mark.slow)])
def test_video_swin_goes_into_both_formats(tmp_path, file_format) -> None:
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
    side = side_of(out)
    assert side['input']['shape'] == [2, 3, 4, 32, 32]
    assert side['output']['shape'] == [2, 6]
    [(size, differences)] = side['verified']['differences'].items()
    assert size == '2' and len(differences) == 6 and max(differences) < 1e-4


def test_weights_too_large_for_one_file_lie_beside_it(tiny, tmp_path, monkeypatch) -> None:
    pytest.importorskip('onnxruntime')
    monkeypatch.setattr(export_writing, 'MAX_BYTES', 0)
    out = tmp_path / 'made' / 'model.onnx'
    arguments = ('--schedule', '0', '--out', out)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ['model.onnx', 'model.onnx.data', 'model.onnx.json']
    clips = np.zeros((2, 3, 16, 32, 32), np.float32)
    assert logits_elsewhere(out, clips, tmp_path).shape == (2, 7)


@pytest.mark.parametrize(
    'option',
    ['test_dataloader=None', pytest.param('test_dataloader.dataset=None', marks=pytest.mark.slow)],
)
def test_a_config_without_data_and_normalisation(tiny, tmp_path, option) -> None:
    """No classes are named, and no mean is said to be taken off."""
    out = tmp_path / 'model.pt2'
    arguments = (*QUICK, '--out', out, '--cfg-options', option, 'model.data_preprocessor=None')
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 0
    side = side_of(out)
    assert side['classes'] is side['input']['mean'] is side['input']['std'] is None
    assert side['input']['values'] == (
        'float32: RGB as the test pipeline gives it; the config has no mean and std'
    )


def test_a_file_that_computes_something_else_is_not_left_behind(
    tiny, tmp_path, refused, monkeypatch
) -> None:
    def elsewhere(path: Path, batches: list[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros((len(clips), 7), np.float32) for clips in batches]

    monkeypatch.setattr(checking, '_run_elsewhere', elsewhere)
    out = tmp_path / 'made' / 'model.pt2'
    arguments = ('--schedule', '0', '--format', 'pt2', '--out', out)
    said = ('computes something else, nothing was written', 'batches of 3', '6 of 6 clips')
    refused('export', tiny.one_view, tiny.checkpoint, *arguments, said=said)
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(tiny, tmp_path, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_writing, 'compare', interrupt)
    out = tmp_path / 'made' / 'model.pt2'
    arguments = (*QUICK, '--out', out)
    assert run_tool('export', tiny.one_view, tiny.checkpoint, *arguments) == 130
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['999'], ('cannot drop 999 of 16 tokens',)),
        (['much'], ("schedule 'much' is not understood",)),
        (['4', '--pruner', 'rlt'], ('RunLengthPruner', 'fixed shapes')),
        (['4', '--pruner', 'random'], ('RandomPruner draws', '--format pt2')),
        (['4', '--pruner', 'nothing'], ("unknown pruner 'nothing'",)),
        (['4', '--batch-size', '0'], ('--batch-size must be at least 1',)),
        (['4', '--tolerance', '2'], ('--tolerance',)),
        (['4', '--out', 'model.pt2'], ('must end in .onnx',)),
        (['4', '--out', 'taken.onnx'], ('taken.onnx exists already',)),
        # The checkpoint, which is missing, would be complained about first if it were read.
        (['4', '--out', 'beside.onnx'], ('beside.onnx.data exists already',)),
        (['4', '--out', 'taken.onnx/m.onnx'], ('m.onnx cannot be written', 'taken')),
        (['4', '--out', '/proc/b.onnx'], ('/proc/b.onnx cannot be written',)),
        (['4'], ('gone.pth',)),
    ],
)
def test_mistakes_take_one_line(tiny, tmp_path, refused, arguments, said) -> None:
    names = ['beside.onnx.data', 'taken.onnx']
    for name in names:
        (tmp_path / name).write_text('')
    refused('export', tiny.one_view, 'gone.pth', '--schedule', *arguments, said=said)
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_without_onnx_it_says_what_to_install(tiny, refused, misused, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    said = ('--format onnx needs onnxscript: pip install', '--format pt2')
    refused('export', tiny.one_view, tiny.checkpoint, '--schedule', '4', said=said)
    misused('export', tiny.one_view, tiny.checkpoint, '--schedule', '4', '--format', 'tf', said=())
