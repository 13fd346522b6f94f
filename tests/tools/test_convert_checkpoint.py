"""The same numbers under mmaction2's names, and nothing written over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.runner.checkpoint import load_checkpoint as load_of_mmengine
from safetensors import safe_open
from safetensors.torch import save_file

from sta.checkpoints import load_checkpoint, read_state_dict
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.report import read_scores

from .conversions import SUFFIXES, assert_equal, half_weights
from .tiny import Tiny, run_tool


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_weights_are_equal_to_the_bit(authors, suffix, tiny: Tiny, tmp_path, capsys) -> None:
    target = tmp_path / 'new folder' / f'out{suffix}'
    assert run_tool('convert_checkpoint', authors, target) == 0
    wanted = half_weights(tiny)
    assert_equal(read_state_dict(target), wanted)
    numbers = sum(value.numel() for value in wanted.values()) / 1e6
    assert capsys.readouterr().out.splitlines() == [
        f'read {len(wanted)} tensors from {authors}, named as by VideoMAE (authors of VideoMAE and '
        f'STA)',
        f'wrote {len(wanted)} tensors ({numbers:.2f} M numbers, float16) under the names of '
        f'mmaction2 to {target} ({target.stat().st_size / 1e6:.1f} MB)',
        'left out, being no weights: optimizer, epoch, scaler, args',
    ]


@pytest.mark.parametrize('options', [(), ('--config',)], ids=['alone', 'config'])
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_converting_again_changes_no_byte(authors, suffix, options, tiny: Tiny, tmp_path) -> None:
    options = (*options, tiny.one_view) if options else ()
    first, second, again = (tmp_path / f'{name}{suffix}' for name in 'abc')
    assert run_tool('convert_checkpoint', authors, first, *options) == 0
    assert run_tool('convert_checkpoint', authors, again, *options) == 0
    assert run_tool('convert_checkpoint', first, second, *options) == 0
    assert first.read_bytes() == second.read_bytes() == again.read_bytes()


def test_averaged_weights_beside_the_raw_ones(tiny: Tiny, tmp_path, capsys) -> None:
    """Every tool says which it took; one option writes the others."""
    source, raw = tmp_path / 'ema.pth', half_weights(tiny)
    averaged = {name: value * 2 for name, value in raw.items()}
    torch.save({'model': raw, 'model_ema': averaged, 'epoch': 3}, source)
    note = (
        'took model, not the averaged weights (EMA) of model_ema; tools/convert_checkpoint.py '
        '--take model_ema writes those'
    )
    assert run_tool('convert_checkpoint', source, tmp_path / 'raw.pth') == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ['left out, being no weights: epoch', note]
    assert_equal(read_state_dict(tmp_path / 'raw.pth'), raw)
    assert run_tool('convert_checkpoint', source, tmp_path / 'a.pth', '--take', 'model_ema') == 0
    assert capsys.readouterr().out.splitlines()[2:] == ['took model_ema, as asked for']
    assert_equal(read_state_dict(tmp_path / 'a.pth'), averaged)
    options = ('--schedules', '0', '--max-videos', '1', '--work-dir', tmp_path / 'work')
    assert run_tool('test', tiny.one_view, source, *options) == 0
    assert note in capsys.readouterr().out


def test_there_and_back_between_the_two_forms(authors, tmp_path) -> None:
    names = ('a.pth', 'b.safetensors', 'c.pth', 'd.safetensors')
    for source, target in zip((authors.name, *names), names):
        assert run_tool('convert_checkpoint', source, target) == 0
    a, b, c, d = ((tmp_path / name).read_bytes() for name in names)
    assert a == c and b == d


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_views_and_shared_memory_are_written_as_tensors_of_their_own(
    tiny: Tiny, suffix, tmp_path
) -> None:
    weights, block = half_weights(tiny), 'backbone.blocks.0.'
    storage = torch.arange(1e6).half() % 7
    weights[f'{block}norm1.weight'] = weights[f'{block}norm2.weight'] = storage[:24]
    weights[f'{block}norm1.bias'] = storage[:48:2]
    torch.save(weights, tmp_path / 'in.pth')
    target = tmp_path / f'out{suffix}'
    assert run_tool('convert_checkpoint', tmp_path / 'in.pth', target) == 0
    assert_equal(read_state_dict(target), weights)
    assert target.stat().st_size < 2e5 < (tmp_path / 'in.pth').stat().st_size


def test_safetensors_are_marked_as_transformers_wants_them(authors, tmp_path) -> None:
    assert run_tool('convert_checkpoint', authors, tmp_path / 'out.safetensors') == 0
    with safe_open(tmp_path / 'out.safetensors', 'pt') as file:
        assert file.metadata() == {'format': 'pt'}


def host_model(config: Path) -> torch.nn.Module:
    """The recognizer of a config with mmaction2's own backbone and head."""
    model = load_config(str(config)).model
    model.backbone.type = 'VisionTransformer'
    model.cls_head.type = 'TimeSformerHead'
    return MODELS.build(model).eval()


def test_mmaction2_loads_it_strictly(authors, tiny: Tiny, tmp_path, capsys) -> None:
    """With its own class and mmengine's own loader, which runs torch's weights-only one."""
    target = tmp_path / 'out.pth'
    assert run_tool('convert_checkpoint', authors, target, '--config', tiny.one_view) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == 'added the fixed tables of the model: backbone.pos_embed'
    assert lines[-1] == f'fits the model of {tiny.one_view}: none missing, none unexpected'
    content = torch.load(target, weights_only=True)
    assert list(content) == ['state_dict', 'meta'] and list(content['meta']) == ['sta_version']
    host = host_model(tiny.one_view)
    load_of_mmengine(host, str(target), map_location='cpu', strict=True)
    ours = build_model(load_config(str(tiny.one_view))).eval()
    load_checkpoint(ours, authors)
    clip = torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = host.cls_head(host.backbone(clip))
        wanted = ours.cls_head(ours.backbone(clip))
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_a_converted_file_scores_as_its_source(authors, tiny: Tiny, tmp_path) -> None:
    assert run_tool('convert_checkpoint', authors, tmp_path / 'out.safetensors') == 0
    scores = []
    for checkpoint in (authors, tmp_path / 'out.safetensors'):
        folder = tmp_path / f'scores of {checkpoint.name}'
        arguments = ('--schedules', '0', '4', '--work-dir', folder, '--max-videos', '3')
        assert run_tool('test', tiny.one_view, checkpoint, *arguments) == 0
        scores.append(read_scores(folder / 'scores.npz').scores)
    assert (scores[0] == scores[1]).all() and scores[0].std() > 0


def test_a_folder_of_hugging_face(tiny: Tiny, tmp_path, capsys) -> None:
    pytest.importorskip('transformers')
    from tests.checkpoints.hf_models import hf_model

    size = dict(image_size=32, num_frames=16, num_hidden_layers=3, num_attention_heads=2)
    model = hf_model(**size, num_labels=7)
    model.save_pretrained(tmp_path / 'hf')
    target = tmp_path / 'out.pth'
    assert run_tool('convert_checkpoint', tmp_path / 'hf', target, '--config', tiny.one_view) == 0
    given, found = model.state_dict(), read_state_dict(target)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'read {len(given)} tensors') and 'Hugging Face' in lines[0]
    assert lines[1].startswith(f'wrote {len(given) - 2 * 3 + 1} tensors')
    prefix = 'videomae.encoder.layer.2.attention.attention.'
    parts = [given[f'{prefix}{part}.weight'] for part in ('query', 'key', 'value')]
    assert torch.equal(found['backbone.blocks.2.attn.qkv.weight'], torch.cat(parts))
    load_of_mmengine(host_model(tiny.one_view), str(target), map_location='cpu', strict=True)


def test_a_folder_of_hugging_face_needs_no_conversion(tiny: Tiny, tmp_path, capsys) -> None:
    """The scores are those of the converted file, and not of other weights."""
    pytest.importorskip('transformers')
    from tests.checkpoints.hf_models import hf_model

    size = dict(image_size=32, num_frames=16, num_hidden_layers=3, num_attention_heads=2)
    hf_model(**size, num_labels=7).save_pretrained(tmp_path / 'hf')
    assert run_tool('convert_checkpoint', tmp_path / 'hf', tmp_path / 'out.pth') == 0
    scores = []
    for checkpoint in (tmp_path / 'hf', tmp_path / 'out.pth', tiny.checkpoint):
        folder = tmp_path / f'scores of {checkpoint.name}'
        arguments = ('--schedules', '0', '4', '--work-dir', folder, '--max-videos', '3')
        assert run_tool('test', tiny.one_view, checkpoint, *arguments) == 0
        scores.append(read_scores(folder / 'scores.npz').scores)
    assert 'named as by VideoMAE (Hugging Face); none missing' in capsys.readouterr().out
    assert (scores[0] == scores[1]).all() and abs(scores[0] - scores[2]).max() > 0.01


def test_a_zero_key_bias_is_told(tmp_path, capsys) -> None:
    pytest.importorskip('transformers')
    from tests.checkpoints.hf_models import hf_model

    weights = hf_model().state_dict()
    weights['videomae.encoder.layer.0.attention.attention.key.bias'] = torch.zeros(24)
    save_file(weights, tmp_path / 'in.safetensors')
    assert run_tool('convert_checkpoint', tmp_path / 'in.safetensors', tmp_path / 'out.pth') == 0
    out = capsys.readouterr().out
    assert 'left out, being zero or a count: backbone.blocks.0.attn.k_bias\n' in out
