"""The same numbers under mmaction2's names; what is refused or fails leaves what was there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.runner.checkpoint import load_checkpoint as load_of_mmengine
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sta.checkpoints import load_checkpoint, read_state_dict
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.report import read_scores
from tests.checkpoints.sources import WRAPPINGS, Touch, authors_names

from .tiny import Tiny, run_tool

SUFFIXES = ('.safetensors', '.pth')
both = pytest.mark.parametrize('suffix', SUFFIXES)


def convert(*arguments: object) -> None:
    assert run_tool('convert_checkpoint', *arguments) == 0


def half_weights(tiny: Tiny) -> dict[str, Tensor]:
    return {name: value.half() for name, value in load_file(tiny.checkpoint).items()}


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


@pytest.fixture
def authors(tiny, tmp_path) -> Path:
    """The tiny checkpoint as the authors of VideoMAE would have saved it, in half precision."""
    weights = dict(reversed(half_weights(tiny).items()))  # no order is to be relied on
    torch.save(WRAPPINGS['model'](authors_names(weights)), tmp_path / 'authors.pth')
    return tmp_path / 'authors.pth'


@both
def test_weights_are_equal_to_the_bit(authors, suffix, tiny, tmp_path, capsys) -> None:
    """In a file that is readable as any other, marked as transformers wants it."""
    target = tmp_path / 'new folder' / f'out{suffix}'
    convert(authors, target)
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
    (tmp_path / 'other').touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (target, tmp_path / 'other')}
    assert len(modes) == 1
    if suffix == '.safetensors':
        with safe_open(target, 'pt') as file:
            assert file.metadata() == {'format': 'pt'}


@pytest.mark.parametrize('with_config', [False, True])
@both
def test_converting_again_changes_no_byte(authors, suffix, with_config, tiny, tmp_path) -> None:
    options = ('--config', tiny.one_view) if with_config else ()
    first, second, again = (tmp_path / f'{name}{suffix}' for name in 'abc')
    for source, target in ((authors, first), (authors, again), (first, second)):
        convert(source, target, *options)
    assert first.read_bytes() == second.read_bytes() == again.read_bytes()


def test_there_and_back_between_the_two_forms(authors, tmp_path) -> None:
    names = ('a.pth', 'b.safetensors', 'c.pth', 'd.safetensors')
    for source, target in zip((authors.name, *names), names):
        convert(source, target)
    a, b, c, d = ((tmp_path / name).read_bytes() for name in names)
    assert a == c and b == d


def test_averaged_weights_beside_the_raw_ones(tiny, tmp_path, capsys) -> None:
    """Every tool says which it took; one option writes the others."""
    source, raw = tmp_path / 'ema.pth', half_weights(tiny)
    averaged = {name: value * 2 for name, value in raw.items()}
    torch.save({'model': raw, 'model_ema': averaged, 'epoch': 3}, source)
    note = (
        'took model, not the averaged weights (EMA) of model_ema; tools/convert_checkpoint.py '
        '--take model_ema writes those'
    )
    convert(source, tmp_path / 'raw.pth')
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ['left out, being no weights: epoch', note]
    assert_equal(read_state_dict(tmp_path / 'raw.pth'), raw)
    convert(source, tmp_path / 'a.pth', '--take', 'model_ema')
    assert capsys.readouterr().out.splitlines()[2:] == ['took model_ema, as asked for']
    assert_equal(read_state_dict(tmp_path / 'a.pth'), averaged)
    options = ('--schedules', '0', '--max-videos', '1', '--work-dir', tmp_path / 'work')
    assert run_tool('test', tiny.one_view, source, *options) == 0
    assert note in capsys.readouterr().out


@both
def test_views_and_shared_memory_are_written_as_tensors_of_their_own(
    tiny, suffix, tmp_path
) -> None:
    weights, block = half_weights(tiny), 'backbone.blocks.0.'
    storage = torch.arange(1e6).half() % 7
    weights[f'{block}norm1.weight'] = weights[f'{block}norm2.weight'] = storage[:24]
    weights[f'{block}norm1.bias'] = storage[:48:2]
    torch.save(weights, tmp_path / 'in.pth')
    target = tmp_path / f'out{suffix}'
    convert(tmp_path / 'in.pth', target)
    assert_equal(read_state_dict(target), weights)
    assert target.stat().st_size < 2e5 < (tmp_path / 'in.pth').stat().st_size


def host_model(config: Path) -> torch.nn.Module:
    """The recognizer of a config with mmaction2's own backbone and head."""
    model = load_config(str(config)).model
    model.backbone.type = 'VisionTransformer'
    model.cls_head.type = 'TimeSformerHead'
    return MODELS.build(model).eval()


def test_mmaction2_loads_it_strictly(authors, tiny, tmp_path, capsys) -> None:
    """With its own class and mmengine's own loader, which runs torch's weights-only one."""
    target = tmp_path / 'out.pth'
    convert(authors, target, '--config', tiny.one_view)
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


def assert_score_the_same(tiny: Tiny, source: Path, converted: Path) -> None:
    """Not as the tiny checkpoint in single precision."""
    scores = []
    for checkpoint in (source, converted, tiny.checkpoint):
        folder = Path(f'scores of {checkpoint.name}')
        arguments = ('--schedules', '4', '--max-videos', '3', '--work-dir', folder)
        assert run_tool('test', tiny.one_view, checkpoint, *arguments) == 0
        scores.append(read_scores(folder / 'scores.npz').scores)
    assert (scores[0] == scores[1]).all() and (scores[0] != scores[2]).any()


def test_a_converted_file_scores_as_its_source(authors, tiny, tmp_path) -> None:
    convert(authors, tmp_path / 'out.safetensors')
    assert_score_the_same(tiny, authors, tmp_path / 'out.safetensors')


def test_a_folder_of_hugging_face(tiny, tmp_path, capsys) -> None:
    """It needs no conversion: the scores are those of the converted file."""
    pytest.importorskip('transformers')
    from tests.checkpoints.hf_models import hf_model

    size = dict(image_size=32, num_frames=16, num_hidden_layers=3, num_attention_heads=2)
    model = hf_model(**size, num_labels=7)
    model.save_pretrained(tmp_path / 'hf')
    target = tmp_path / 'out.pth'
    convert(tmp_path / 'hf', target, '--config', tiny.one_view)
    given, found = model.state_dict(), read_state_dict(target)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'read {len(given)} tensors') and 'Hugging Face' in lines[0]
    assert lines[1].startswith(f'wrote {len(given) - 2 * 3 + 1} tensors')
    prefix = 'videomae.encoder.layer.2.attention.attention.'
    parts = [given[f'{prefix}{part}.weight'] for part in ('query', 'key', 'value')]
    assert torch.equal(found['backbone.blocks.2.attn.qkv.weight'], torch.cat(parts))
    load_of_mmengine(host_model(tiny.one_view), str(target), map_location='cpu', strict=True)
    assert_score_the_same(tiny, tmp_path / 'hf', target)
    assert 'named as by VideoMAE (Hugging Face); none missing' in capsys.readouterr().out


def test_a_zero_key_bias_is_told(tmp_path, capsys) -> None:
    pytest.importorskip('transformers')
    from tests.checkpoints.hf_models import hf_model

    weights = hf_model().state_dict()
    weights['videomae.encoder.layer.0.attention.attention.key.bias'] = torch.zeros(24)
    save_file(weights, tmp_path / 'in.safetensors')
    convert(tmp_path / 'in.safetensors', tmp_path / 'out.pth')
    out = capsys.readouterr().out
    assert 'left out, being zero or a count: backbone.blocks.0.attn.k_bias\n' in out


@both
def test_nothing_is_written_over(authors, suffix, tiny, tmp_path, refused) -> None:
    target = tmp_path / f'out{suffix}'
    target.write_bytes(b'mine')
    said = f'{target} is there already: give another name, or --force to replace it'
    refused('convert_checkpoint', authors, target, said=(said,))
    assert target.read_bytes() == b'mine'
    convert(authors, target, '--force')
    assert_equal(read_state_dict(target), half_weights(tiny))


def test_a_failure_leaves_the_old_file(tmp_path, tiny, refused) -> None:
    """Also with --force: the new one is put in its place when it is whole."""
    target, source = tmp_path / 'out.pth', tmp_path / 'in.pth'
    target.write_bytes(b'mine')
    weights = half_weights(tiny)
    weights['backbone.fc_norm.bias'][3] = float('nan')
    torch.save(weights, source)
    said = f'{source}: backbone.fc_norm.bias holds NaN or infinity'
    refused('convert_checkpoint', source, target, '--force', said=(said,))
    assert target.read_bytes() == b'mine'


@both
def test_an_interrupted_writing_leaves_nothing(
    authors, suffix, tmp_path, monkeypatch, refused
) -> None:
    def fail(source: str, target: str) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    refused('convert_checkpoint', authors, tmp_path / f'out{suffix}', said=('No space left',))
    assert [path.name for path in tmp_path.iterdir()] == ['authors.pth']


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        # Before anything is read, which can take a while.
        (('no.pth', 'out.bin'), 'weights are written as .safetensors or .pth, got out.bin'),
        (('no.pth', 'out'), 'weights are written as .safetensors or .pth, got out'),
        (('no.pth', 'out.PTH'), 'weights are written as .safetensors or .pth, got out.PTH'),
        (('no.pth', 'out.pth.tar'), 'as .safetensors or .pth, got out.pth.tar'),
        (('no.pth', '/proc/x.pth'), '/proc/x.pth cannot be written'),
        (('no.pth', 'out.pth'), 'no.pth does not exist'),
        (('authors.pth', 'folder.pth', '--force'), 'is a folder'),
        (('authors.pth', 'out.pth', '--take', 'model_ema'), 'has nothing under model_ema; it has '),
        (('authors.pth', 'out.pth', '--cfg-options', 'a=4'), 'give --config as well'),
        (('evil.pth', 'out.pth'), 'was refused: it asks to call'),
        (
            ('authors.pth', 'out.pth', '--config', 'C', '--cfg-options', 'model.backbone.depth=4'),
            '13 missing',
        ),
    ],
)
def test_what_is_refused(authors, tiny, tmp_path, refused, arguments, said) -> None:
    (tmp_path / 'folder.pth').mkdir()
    torch.save({'model': {'a': Touch(os.mkdir, str(tmp_path / 'gotcha'))}}, 'evil.pth')
    arguments = [tiny.one_view if word == 'C' else word for word in arguments]
    refused('convert_checkpoint', *arguments, said=(said,))
    assert not Path('gotcha').exists() and not Path('out.pth').exists()
