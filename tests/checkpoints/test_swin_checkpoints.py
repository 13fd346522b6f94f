"""Checkpoints of VideoSwin and of mmaction2's own models: every naming, and what does not fit."""

from __future__ import annotations

import re

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import save_checkpoint
from torch import Tensor, nn

from sta.checkpoints import load_checkpoint
from tests.checkpoints.sources import (
    BACKBONE,
    Weights,
    logits,
    recognizer,
    refusal,
    weights_of,
    with_prefix,
)
from tests.models.small_swin import SMALL, randomise_host
from tests.models.small_vit import clips, randomise


def swin(seed: int = 0, **backbone) -> nn.Module:
    init_default_scope('mmaction')
    settings = {'type': 'STASwinTransformer3D', **SMALL, **backbone}
    head = {'type': 'LinearHead', 'num_classes': 5, 'in_channels': 96}
    model = MODELS.build({'type': 'Recognizer3D', 'backbone': settings, 'cls_head': head})
    return randomise(model, seed)


def swin_logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.cls_head(model.backbone(clips(1, frames=8, size=64)))


def authors(weights: Weights) -> Weights:
    """mmaction 0.x: one final norm without a number."""
    return {name.replace('backbone.norm3.', 'backbone.norm.'): w for name, w in weights.items()}


def without_tables(weights: Weights) -> Weights:
    return {name: w for name, w in weights.items() if 'relative_position_index' not in name}


NAMINGS = {
    'mmaction2': dict,
    'authors': authors,
    'distributed': lambda weights: with_prefix(authors(weights), 'module.'),
    'no tables': without_tables,
    'lightning': lambda weights: with_prefix(authors(weights), 'model._orig_mod.'),
    'bare names': lambda weights: {
        'net.' + n.replace('layers.0.blocks.0.', 'layers.0.blocks.0._fsdp_wrapped_module.'): w
        for n, w in authors(weights).items()
    },
}


@pytest.mark.parametrize('naming', NAMINGS)
def test_every_naming(naming, tmp_path) -> None:
    saved, model = swin(seed=2), swin(seed=1)
    assert (swin_logits(model) - swin_logits(saved)).abs().max() > 0.1
    named = NAMINGS[naming](weights_of(saved))
    torch.save({'state_dict': named}, tmp_path / 'ckpt.pth')
    report = load_checkpoint(model, tmp_path / 'ckpt.pth')
    assert torch.equal(swin_logits(model), swin_logits(saved))
    assert 'VideoSwin' in report.source and report.num_loaded == len(named)


def test_a_bare_backbone(tmp_path) -> None:
    saved, model = swin(seed=2), swin(seed=1).backbone
    report = load_checkpoint(model, weights_of(saved))
    assert all(name.startswith('cls_head.') for name in report.unused) and len(report.unused) == 2
    load_checkpoint(model, weights_of(saved.backbone))
    clip = clips(1, frames=8, size=64)
    with torch.no_grad():
        assert torch.equal(model(clip), saved.backbone(clip))


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        ({'window_size': (4, 3, 3)}, r'relative_position.* 175 relative positions'),
        (
            {'arch': {**SMALL['arch'], 'depths': [2, 2, 4, 2]}},
            r'layers.2.blocks.2.* 2-2-4-2 blocks .* width 12',
        ),
    ],
    ids=['window', 'depth'],
)
def test_another_architecture_is_refused(changed, words, tmp_path) -> None:
    torch.save({'state_dict': weights_of(swin(**changed))}, tmp_path / 'ckpt.pth')
    message = refusal(tmp_path / 'ckpt.pth', swin(seed=1))
    assert re.search(words, message) and 'sta_vit' not in message


def test_a_missing_weight_is_named_without_advice_for_another_model() -> None:
    weights = authors(weights_of(swin(seed=2)))
    del weights['backbone.layers.2.blocks.1.attn.qkv.bias']
    message = refusal(weights, swin(seed=1))
    assert '(1 missing: backbone.layers.2.blocks.1.attn.qkv.bias)' in message
    assert message.endswith('75 relative positions in a window and 5 classes')


@pytest.mark.parametrize(
    'arch, window, classes, config',
    [('tiny', (8, 7, 7), 400, 'sta_swin_t_k400'), ('base', (16, 7, 7), 174, 'sta_swin_ssv2')],
)
def test_the_config_that_would_fit_is_named(arch, window, classes, config) -> None:
    from sta.checkpoints.hints import hint
    from sta.models import LinearHead, STASwinTransformer3D

    with torch.device('meta'):
        given = STASwinTransformer3D(arch, window_size=window).state_dict(prefix='backbone.')
        width = given['backbone.norm3.bias'].shape[0]
        head = LinearHead(num_classes=classes, in_channels=width).state_dict(prefix='cls_head.')
    assert f'configs/{config}.py would fit' in hint({**given, **head}, swin().state_dict())


def host_recognizer(backbone: dict, head: dict) -> nn.Module:
    init_default_scope('mmaction')
    head = {'num_classes': 5, 'average_clips': 'prob', **head}
    return randomise_host(
        MODELS.build({'type': 'Recognizer3D', 'backbone': backbone, 'cls_head': head})
    )


def host_logits(model: nn.Module, given: Tensor) -> Tensor:
    with torch.no_grad():
        return model.cls_head(model.backbone(given))


def host_vit() -> nn.Module:
    return host_recognizer(
        {**BACKBONE, 'type': 'VisionTransformer'}, {'type': 'TimeSformerHead', 'in_channels': 24}
    )


def host_swin() -> nn.Module:
    backbone = {'type': 'SwinTransformer3D', 'pretrained2d': False, **SMALL}
    head = {'type': 'I3DHead', 'in_channels': 96, 'dropout_ratio': 0.5}
    return host_recognizer(backbone, head)


def test_a_vit_of_mmaction2(tmp_path) -> None:
    host, model = host_vit(), recognizer(seed=1)
    save_checkpoint(
        {'state_dict': host.state_dict(), 'meta': {'epoch': 3}}, str(tmp_path / 'c.pth')
    )
    given = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    expected = host_logits(host, given)
    assert (logits(model) - expected).abs().max() > 0.1
    report = load_checkpoint(model, tmp_path / 'c.pth')
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=0)
    assert report.source == 'mmaction2' and report.num_loaded == len(host.state_dict())


@pytest.mark.filterwarnings('ignore:torch.meshgrid')
@pytest.mark.parametrize(
    'form', [dict, authors, without_tables], ids=['mmaction2', 'mmaction 0.x', 'no tables']
)
def test_a_swin_of_mmaction2(form, tmp_path) -> None:
    host, model = host_swin(), swin(seed=1)
    weights = form(weights_of(host))
    assert ('backbone.norm.weight' in weights) is (form is authors)
    save_checkpoint({'state_dict': weights, 'meta': {'epoch': 3}}, str(tmp_path / 'c.pth'))
    expected = host_logits(host, clips(1, frames=8, size=64))
    assert (swin_logits(model) - expected).abs().max() > 0.1
    load_checkpoint(model, tmp_path / 'c.pth')
    torch.testing.assert_close(swin_logits(model), expected, atol=1e-5, rtol=0)
