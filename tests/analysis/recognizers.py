"""Recognizers around the small backbones, with float64 weights where sums are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sta.models import LinearHead
from tests.models.small_swin import small_swin
from tests.models.small_vit import randomise, small_vit

NUM_CLASSES = 5


class Recognizer(nn.Module):
    """What the host calls a recognizer: a backbone and a head."""

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = LinearHead(num_classes=NUM_CLASSES, in_channels=channels)
        randomise(self.cls_head, seed=1)


def vit(**changed: Any) -> Recognizer:
    """2 x 2 places in each of 4 frames, 3 blocks of width 8."""
    tiny = {'img_size': 16, 'embed_dims': 8, 'num_heads': 2, 'depth': 3, 'num_frames': 8}
    return Recognizer(small_vit(**{**tiny, **changed}), 8)


def swin(**changed: Any) -> Recognizer:
    """Three stages of one block on 2 x 5 x 6, 2 x 3 x 3 and 2 x 2 x 2 places of 20 x 24 pixels."""
    arch = {'embed_dims': 4, 'depths': [1, 2, 1], 'num_heads': [1, 2, 2]}
    return Recognizer(small_swin(arch=arch, window_size=(2, 3, 3), **changed), 16)


def clip_of(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
