"""VideoSwin checkpoints: the names of its authors and of mmaction2, and files that do not fit."""

from __future__ import annotations

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from sta.checkpoints import load_checkpoint
from sta.errors import CheckpointError
from tests.checkpoints.sources import Weights, weights_of, with_prefix
from tests.models.small_swin import SMALL
from tests.models.small_vit import clips, randomise


def recognizer(seed: int = 0, **backbone) -> nn.Module:
    init_default_scope('mmaction')
    settings = {'type': 'STASwinTransformer3D', **SMALL, **backbone}
    head = {'type': 'LinearHead', 'num_classes': 5, 'in_channels': 96}
    model = MODELS.build({'type': 'Recognizer3D', 'backbone': settings, 'cls_head': head})
    return randomise(model, seed)


def logits(model: nn.Module) -> torch.Tensor:
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
    saved, model = recognizer(seed=2), recognizer(seed=1)
    assert (logits(model) - logits(saved)).abs().max() > 0.1
    named = NAMINGS[naming](weights_of(saved))
    torch.save({'state_dict': named}, tmp_path / 'ckpt.pth')
    report = load_checkpoint(model, tmp_path / 'ckpt.pth')
    assert torch.equal(logits(model), logits(saved))
    assert 'VideoSwin' in report.source and report.num_loaded == len(named)


def test_a_bare_backbone(tmp_path) -> None:
    saved, model = recognizer(seed=2), recognizer(seed=1).backbone
    report = load_checkpoint(model, weights_of(saved))
    assert all(name.startswith('cls_head.') for name in report.unused) and len(report.unused) == 2
    load_checkpoint(model, weights_of(saved.backbone))
    clip = clips(1, frames=8, size=64)
    with torch.no_grad():
        assert torch.equal(model(clip), saved.backbone(clip))


@pytest.mark.parametrize(
    'changed, words',
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
    torch.save({'state_dict': weights_of(recognizer(**changed))}, tmp_path / 'ckpt.pth')
    model = recognizer(seed=1)
    before = logits(model)
    with pytest.raises(CheckpointError, match=words) as error:
        load_checkpoint(model, tmp_path / 'ckpt.pth')
    assert 'sta_vit' not in str(error.value)
    assert torch.equal(logits(model), before)


def test_a_missing_weight_is_named_without_advice_for_another_model() -> None:
    weights = authors(weights_of(recognizer(seed=2)))
    del weights['backbone.layers.2.blocks.1.attn.qkv.bias']
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(recognizer(seed=1), weights)
    message = str(error.value)
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
    assert f'configs/{config}.py would fit' in hint({**given, **head}, recognizer().state_dict())
