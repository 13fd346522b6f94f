"""Models of other libraries, and our registered backbones with the same weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from sta.checkpoints import load_checkpoint
from sta.models import STASwinTransformer3D, STAVisionTransformer
from tests.checkpoints.hf_models import hf_model, with_eps
from tests.checkpoints.sources import weights_of
from tests.hosts import timm_standin
from tests.models import small_swin
from tests.models.small_vit import SMALL, clips, randomise

NUM_CLASSES = 5
TIMM_IS_INSTALLED = importlib.util.find_spec('timm') is not None
BOTH_SCHEDULES = {'vit': [2, [0, 5, 3], [{'after_block': 1, 'num_chunks': 8, 'num_drop': 4}]]}
BOTH_SCHEDULES['swin'] = [small_swin.DROPS, [0, 6, 2], [40, 12, 3]]


class Pair(NamedTuple):
    """A host, and ours on the same weights.

    Attributes:
        host: what a user has.
        logits: of the host for clips (B, 3, frames, H, W).
        backbone: ours, registered.
        head: from its feature to logits.
        given: two clips.
        settings: what `apply` needs beside a schedule.
        schedule: one that fits.
    """

    host: nn.Module
    logits: Callable[[nn.Module, Tensor], Tensor]
    backbone: nn.Module
    head: nn.Module
    given: Tensor
    settings: dict[str, Any]
    schedule: Any

    def pruned_by_ours(
        self, schedule: Any, pruner: Any = None, given: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        self.backbone.set_schedule(None)
        self.backbone.set_pruner(pruner or {'type': 'STAPruner'})
        self.backbone.set_schedule(schedule)
        with torch.no_grad():
            feature, kept = self.backbone(self.given if given is None else given, return_kept=True)
            return self.head(feature), kept

    def run(self, given: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return self.logits(self.host, self.given if given is None else given)


def recognizer(backbone: dict[str, Any], head: str, width: int) -> nn.Module:
    init_default_scope('mmaction')
    settings = {'type': head, 'num_classes': NUM_CLASSES, 'in_channels': width}
    settings = {**settings, 'average_clips': 'prob'}
    return MODELS.build({'type': 'Recognizer3D', 'backbone': backbone, 'cls_head': settings})


def huggingface() -> Pair:
    pytest.importorskip('transformers')
    host = with_eps(hf_model(image_size=32, num_frames=16, num_hidden_layers=6), 1e-6)
    ours = recognizer({'type': 'STAVisionTransformer', **SMALL}, 'TimeSformerHead', 24).eval()
    load_checkpoint(ours, weights_of(host))
    return Pair(host, hf_logits, ours.backbone, ours.cls_head, clips(2), {}, 2)


def hf_logits(host: nn.Module, given: Tensor) -> Tensor:
    return host(pixel_values=given.transpose(1, 2)).logits


def mmaction_vit() -> Pair:
    host = recognizer({'type': 'VisionTransformer', **SMALL}, 'TimeSformerHead', 24)
    ours = recognizer({'type': 'STAVisionTransformer', **SMALL}, 'TimeSformerHead', 24).eval()
    ours.load_state_dict(randomise(host).state_dict())
    return Pair(host, mm_logits, ours.backbone, ours.cls_head, clips(2), {}, 2)


def mmaction_swin() -> Pair:
    settings = {'type': 'SwinTransformer3D', 'pretrained2d': False, **small_swin.SMALL}
    host = small_swin.randomise_host(recognizer(settings, 'I3DHead', 96))
    ours = recognizer({**settings, 'type': 'STASwinTransformer3D'}, 'I3DHead', 96).eval()
    ours.load_state_dict(host.state_dict())
    given = clips(2, frames=8, size=64)
    return Pair(host, mm_logits, ours.backbone, ours.cls_head, given, {}, small_swin.DROPS)


def mm_logits(host: nn.Module, given: Tensor) -> Tensor:
    return host.cls_head(host.backbone(given))


def timm_model(**changed: Any) -> nn.Module:
    """timm's own where it is installed, else the stand-in."""
    library = timm_standin
    if TIMM_IS_INSTALLED:
        from timm.models import vision_transformer as library
    settings = {'img_size': 32, 'patch_size': 8, 'embed_dim': 24, 'depth': 6, 'num_heads': 3}
    settings |= {'num_classes': NUM_CLASSES, 'class_token': False, 'global_pool': 'avg'}
    return randomise(library.VisionTransformer(**{**settings, 'qkv_bias': True, **changed}))


def timm() -> Pair:
    """Keys of ours have no bias, so the host's is zero; ours has a position table per frame."""
    host = timm_model()
    with torch.no_grad():
        for block in host.blocks:
            block.attn.qkv.bias[24:48] = 0
    size = {**SMALL, 'num_frames': 8, 'tubelet_size': 1, 'use_learnable_pos_emb': True}
    ours = STAVisionTransformer(**size).eval()
    weights = {}
    for name, value in host.state_dict().items():
        name = name.replace('mlp.fc1', 'mlp.layers.0.0').replace('mlp.fc2', 'mlp.layers.1')
        name = name.replace('patch_embed.proj.', 'patch_embed.projection.')
        if name.endswith('attn.qkv.bias'):
            weights[name.replace('qkv.bias', 'q_bias')], _, value = value.chunk(3)
            name = name.replace('qkv.bias', 'v_bias')
        weights[name] = value
    weights['patch_embed.projection.weight'] = weights['patch_embed.projection.weight'][:, :, None]
    weights['pos_embed'] = weights['pos_embed'].repeat(1, 8, 1)
    weights = {name: value for name, value in weights.items() if not name.startswith('head.')}
    ours.load_state_dict(weights)
    return Pair(host, timm_logits, ours, host.head, clips(2, frames=8), {'num_frames': 8}, 2)


def timm_logits(host: nn.Module, given: Tensor) -> Tensor:
    return host(given.transpose(1, 2).flatten(0, 1))


PAIRS = {
    'transformers': huggingface,
    'mmaction2 ViT': mmaction_vit,
    'mmaction2 Swin': mmaction_swin,
    'timm': timm,
}


def is_swin(pair: Pair) -> bool:
    return isinstance(pair.backbone, STASwinTransformer3D)


def schedules(name: str) -> list[Any]:
    return BOTH_SCHEDULES['swin' if 'Swin' in name else 'vit']
