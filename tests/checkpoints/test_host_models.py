"""Checkpoints of mmaction2's own models, saved as its runner saves them, and of mmaction 0.x."""

from __future__ import annotations

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import save_checkpoint
from torch import Tensor, nn

from sta.checkpoints import load_checkpoint
from tests.checkpoints.sources import BACKBONE, logits, recognizer, weights_of
from tests.checkpoints.test_swin_checkpoints import authors, without_tables
from tests.checkpoints.test_swin_checkpoints import logits as swin_logits
from tests.checkpoints.test_swin_checkpoints import recognizer as swin
from tests.models.small_swin import SMALL, randomise_host
from tests.models.small_vit import clips


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
