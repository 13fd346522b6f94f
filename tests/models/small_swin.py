"""Small VideoSwin backbones whose weights are large enough to set scores apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from sta.models import STASwinTransformer3D
from tests.models.small_vit import randomise

ARCH = {'embed_dims': 12, 'depths': [2, 2, 2, 2], 'num_heads': [2, 2, 4, 4]}
SMALL: dict[str, Any] = {'arch': ARCH, 'window_size': (2, 3, 3), 'drop_path_rate': 0.0}
"""A clip of 8 x 64 x 64 has grids of 4 x 16 x 16, 4 x 8 x 8, 4 x 4 x 4 and 4 x 2 x 2."""

DROPS = [24, 6, 1]

PRUNERS = {
    'sta': {'type': 'STAPruner'},
    'grid': {'type': 'STAPruner', 'first_frame': 'grid'},
    'random first': {'type': 'STAPruner', 'first_frame': 'random', 'seed': 3},
    'random': {'type': 'RandomPruner'},
    'tube': {'type': 'TubeRandomPruner', 'seed': 1},
}


def small_swin(seed: int = 0, **changed: Any) -> STASwinTransformer3D:
    return randomise(STASwinTransformer3D(**{**SMALL, **changed}), seed)


def host_swin(arch: Any = ARCH, window_size: tuple[int, int, int] = (2, 3, 3)) -> nn.Module:
    """The host's own model with random weights."""
    from mmaction.models.backbones.swin import SwinTransformer3D

    return randomise_host(SwinTransformer3D(arch, pretrained2d=False, window_size=window_size))


def randomise_host(model: nn.Module) -> nn.Module:
    """As `randomise`; the host's train() does not return the model."""
    model.train(False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(noise / max(value[0].numel(), 4) ** 0.5)
    return model


def numpy_weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}
