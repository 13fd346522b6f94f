"""Every form of checkpoint gives the logits of the model that saved it, and a true report."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sta.checkpoints import load_checkpoint, read_state_dict
from sta.errors import CheckpointError
from tests.checkpoints.sources import (
    BACKBONE,
    HEAD_NAMES,
    NAMINGS,
    WRAPPINGS,
    authors_names,
    logits,
    recognizer,
    weights_of,
    with_prefix,
)
from tests.models import reference_vit

AUTHORS = 'VideoMAE (authors of VideoMAE and STA)'


def assert_loads(path, saved, source: str | None = None):
    """Into a model of other weights, whose logits differ before and are equal afterwards."""
    model = recognizer(seed=1)
    assert (logits(model) - logits(saved)).abs().max() > 0.1
    report = load_checkpoint(model, path)
    torch.testing.assert_close(logits(model), logits(saved), atol=1e-6, rtol=0)
    assert source is None or report.source == source
    return report


@pytest.mark.parametrize('wrapping', WRAPPINGS)
@pytest.mark.parametrize('naming', NAMINGS)
def test_every_naming_in_every_container(naming, wrapping, tmp_path) -> None:
    saved = recognizer(seed=2)
    named = NAMINGS[naming](weights_of(saved))
    torch.save(WRAPPINGS[wrapping](named), tmp_path / 'ckpt.pth')
    report = assert_loads(
        tmp_path / 'ckpt.pth', saved, AUTHORS if naming.startswith('authors') else 'mmaction2'
    )
    assert report.num_loaded == len(named)
    assert report.num_parameters == sum(tensor.numel() for tensor in named.values())
    assert report.unused == () and report.cast == ''


@pytest.mark.parametrize('wrapping', ['model', 'deepspeed'])
def test_files_of_before_torch_1_6(wrapping, tmp_path) -> None:
    saved = recognizer(seed=2)
    content = WRAPPINGS[wrapping](authors_names(weights_of(saved)))
    torch.save(content, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert_loads(str(tmp_path / 'old.pth'), saved, AUTHORS)


FRONTS = (
    'model.',
    'net.',
    'student.',
    'encoder.',
    'model._orig_mod.',
    '_orig_mod.module.',
    'module.model.',
    'model.module._orig_mod.net.',
    '_forward_module.model.',
    'lit.task.0.vit.',
)


@pytest.mark.parametrize('front', FRONTS)
@pytest.mark.parametrize('naming', ['authors', 'authors, version 2', 'mmaction2'])
def test_any_prefix(naming, front) -> None:
    saved = recognizer(seed=2)
    named = NAMINGS[naming](weights_of(saved))
    report = assert_loads(with_prefix(named, front), saved)
    assert report.num_loaded == len(named) and report.notes == ()


@pytest.mark.parametrize('naming', ['authors', 'authors, version 2', 'mmaction2'])
@pytest.mark.parametrize(
    'wrapper',
    ['_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', 'module', '_fpw_module'],
)
def test_wrappers_inside_names(naming, wrapper) -> None:
    """Of one block and of one layer, below a prefix: what DDP, FSDP and torch.compile leave."""
    saved = recognizer(seed=2)
    named = {}
    for name, tensor in NAMINGS[naming](weights_of(saved)).items():
        name = name.replace('blocks.0.', f'blocks.0.{wrapper}.')
        name = name.replace('blocks.1.attn.', f'blocks.1.attn.{wrapper}.{wrapper}.')
        named[f'{wrapper}.model.{name}'] = tensor
    assert_loads(named, saved)


def test_names_that_wrappers_really_give() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    saved, wrapped = recognizer(seed=2), recognizer(seed=2)
    blocks = wrapped.backbone.blocks
    blocks[0] = checkpoint_wrapper(blocks[0])
    blocks[1].attn = torch.compile(blocks[1].attn)
    names = torch.compile(torch.nn.DataParallel(wrapped)).state_dict()
    assert any(name.startswith('_orig_mod.module.') for name in names)
    assert any('blocks.1.attn._orig_mod.' in name for name in names)
    assert_loads(with_prefix(names, 'model.'), saved)


def test_a_head_beside_the_encoder_of_a_module() -> None:
    """A LightningModule of two parts: only the blocks have the whole prefix."""
    saved = recognizer(seed=2)
    named = authors_names(weights_of(saved))
    split = {f'net.{"" if n.startswith("head.") else "encoder."}{n}': t for n, t in named.items()}
    assert split.keys() >= {'net.head.bias', 'net.encoder.patch_embed.proj.bias'}
    assert_loads(split, saved)


@pytest.mark.parametrize(
    'extra', ['model.head2.weight', 'aux.head.bias', 'model.blocks.0.a.weight']
)
def test_a_prefix_does_not_excuse_what_is_left_over(extra) -> None:
    named = with_prefix(authors_names(weights_of(recognizer(seed=2))), 'model.')
    named[extra] = torch.zeros(5)
    with pytest.raises(CheckpointError, match=r'\(1 unexpected: '):
        load_checkpoint(recognizer(), named)


@pytest.mark.parametrize('other', ['teacher.', 'encoder_k.', 'model.net.'])
def test_two_models_under_prefixes_are_not_picked_from(other, tmp_path) -> None:
    """Both would fit. The one that is meant is written by name."""
    saved, second = recognizer(seed=2), recognizer(seed=3)
    named = with_prefix(authors_names(weights_of(saved)), 'student.')
    named |= with_prefix(authors_names(weights_of(second)), other)
    torch.save({'state_dict': named}, tmp_path / 'two.pth')
    with pytest.raises(CheckpointError, match='two.pth holds several models, .*student.* one wei'):
        load_checkpoint(recognizer(), tmp_path / 'two.pth')
    assert_loads(read_state_dict(tmp_path / 'two.pth', take=other), second)


def test_the_prefix_that_is_proposed_takes_the_head_along() -> None:
    both = with_prefix(weights_of(recognizer(seed=2)), 'net.student.')
    both |= with_prefix(weights_of(recognizer(seed=3)), 'net.teacher.')
    with pytest.raises(CheckpointError, match=r'models, net\.student\., net\.teacher\. \('):
        load_checkpoint(recognizer(), both)


@pytest.mark.parametrize('naming', NAMINGS)
def test_a_state_dict_in_memory(naming) -> None:
    saved = recognizer(seed=2)
    report = assert_loads(NAMINGS[naming](weights_of(saved)), saved)
    assert report.path == 'state dict'


def test_the_authors_names_mean_what_an_independent_model_computes() -> None:
    """The same names read by the reference of the equations, which knows nothing of renaming."""
    named = authors_names(weights_of(recognizer(seed=3)))
    model = recognizer(seed=1)
    load_checkpoint(model, named)
    clip = torch.randn(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    expected = reference_vit.forward(
        clip[0].numpy(),
        {name: tensor.numpy() for name, tensor in named.items()},
        num_heads=BACKBONE['num_heads'],
        stages=[],
    )
    with torch.no_grad():
        found = model.cls_head(model.backbone(clip))[0].numpy()
    np.testing.assert_allclose(found, expected.logits, atol=1e-5, rtol=0)


def test_a_real_file_of_mmengine(trained) -> None:
    saved, path = trained
    content = torch.load(path, weights_only=False)
    assert set(content) >= {'state_dict', 'meta', 'message_hub', 'optimizer', 'param_schedulers'}
    scalars = content['message_hub']['log_scalars']
    assert {type(value).__name__ for value in scalars.values()} == {'HistoryBuffer'}
    report = assert_loads(path, saved, 'mmaction2')
    assert report.num_loaded == len(saved.state_dict())


def test_a_real_file_of_mmengine_from_numpy_1(trained, tmp_path) -> None:
    """numpy 2 moved numpy.core to numpy._core: either may read what the other wrote."""
    saved, path = trained
    names = [b'numpy._core.multiarray', b'numpy.core.multiarray']
    for old, new in (names, names[::-1]):
        moved, count = _replace_in_pickle(path, old, new)
        (tmp_path / 'moved.pth').write_bytes(moved)
        if count:
            assert_loads(tmp_path / 'moved.pth', saved, 'mmaction2')
            return
    pytest.fail('the file names numpy under neither name')


def _replace_in_pickle(path, old: bytes, new: bytes) -> tuple[bytes, int]:
    packed, count = io.BytesIO(), 0
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, 'w') as target:
        for name in source.namelist():
            member = source.read(name)
            if name.endswith('data.pkl'):
                count += member.count(old)
                member = member.replace(old, new)
            target.writestr(name, member)
    return packed.getvalue(), count


@pytest.mark.parametrize('naming', ['authors', 'mmaction2'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_of_another_precision(naming, dtype, tmp_path) -> None:
    saved = recognizer(seed=2)
    for name, tensor in saved.state_dict().items():
        if naming == 'mmaction2' or 'pos_embed' not in name:  # the authors do not store it
            tensor.copy_(tensor.to(dtype))
    named = NAMINGS[naming](weights_of(saved))
    path = tmp_path / 'ckpt.safetensors'
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in named.items()}, path)
    report = assert_loads(path, saved)
    assert report.cast == f'{str(dtype)[6:]} -> float32'
    assert report.cast in str(report)


def test_the_report_is_one_line_that_says_what_happened(tmp_path) -> None:
    saved = recognizer(seed=2)
    torch.save(saved.state_dict(), tmp_path / 'w.pth')
    numbers = sum(tensor.numel() for tensor in saved.state_dict().values()) / 1e6
    assert str(load_checkpoint(recognizer(), tmp_path / 'w.pth')) == (
        f'loaded {len(saved.state_dict())} tensors ({numbers:.2f} M numbers) from '
        f'{tmp_path / "w.pth"}, named as by mmaction2; none missing, none unexpected'
    )


@pytest.mark.parametrize('naming', NAMINGS)
def test_a_bare_backbone_leaves_the_head_and_says_so(naming) -> None:
    saved, model = recognizer(seed=2), recognizer(seed=1)
    report = load_checkpoint(model.backbone, NAMINGS[naming](weights_of(saved)))
    model.cls_head.load_state_dict(saved.cls_head.state_dict())
    torch.testing.assert_close(logits(model), logits(saved), atol=1e-6, rtol=0)
    assert report.unused == HEAD_NAMES
    assert str(report).endswith(f'; not used: {HEAD_NAMES[0]}, {HEAD_NAMES[1]}')


@pytest.mark.parametrize('form', ['plain', 'backbone.', 'authors'])
def test_weights_of_a_bare_backbone(form) -> None:
    saved, model = recognizer(seed=2), recognizer(seed=1)
    weights = weights_of(saved.backbone)
    if form == 'backbone.':
        weights = with_prefix(weights, 'backbone.')
    elif form == 'authors':
        weights = authors_names(weights)
    report = load_checkpoint(model.backbone, weights)
    for name, tensor in saved.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name
    assert report.unused == ()


def test_a_stored_position_table_is_used() -> None:
    """Some sources fine-tune it; a model with a fixed one takes theirs."""
    weights = weights_of(recognizer(seed=2))
    weights['backbone.pos_embed'] += 0.5
    model = recognizer(seed=1)
    load_checkpoint(model, weights)
    assert torch.equal(model.backbone.pos_embed, weights['backbone.pos_embed'])


def test_the_loaded_model_shares_no_memory_with_its_source() -> None:
    weights = weights_of(recognizer(seed=2))
    model = recognizer(seed=1)
    load_checkpoint(model, weights)
    before = logits(model)
    for tensor in weights.values():
        tensor.zero_()
    assert torch.equal(logits(model), before)


def test_layer_scale_and_other_schedules_take_the_same_file() -> None:
    saved = recognizer(seed=2, init_values=0.1)
    model = recognizer(seed=1, init_values=0.1, schedule=[1])
    load_checkpoint(model, authors_names(weights_of(saved)))
    model.backbone.set_schedule(0)
    torch.testing.assert_close(logits(model), logits(saved), atol=1e-6, rtol=0)
