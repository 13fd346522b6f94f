"""A small backbone whose weights are large enough to set scores apart; names for the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from sta.models import STAVisionTransformer

SMALL = {
    'img_size': 32,
    'patch_size': 8,
    'embed_dims': 24,
    'depth': 6,
    'num_heads': 3,
    'num_frames': 16,
}
"""8 frames of tokens of 4 x 4 places: 128 tokens."""

PRUNERS = {
    'sta': {'type': 'STAPruner'},
    'grid': {'type': 'STAPruner', 'first_frame': 'grid'},
    'random first': {'type': 'STAPruner', 'first_frame': 'random', 'seed': 3},
    'random': {'type': 'RandomPruner'},
    'tube': {'type': 'TubeRandomPruner', 'seed': 1},
    'merge': {'type': 'ToMeMergePruner'},
    'drop': {'type': 'ToMeDropPruner'},
    'vid-tldr': {'type': 'SaliencyMergePruner'},
}

TO_VIDEOMAE = {
    'patch_embed.projection': 'patch_embed.proj',
    'mlp.layers.0.0': 'mlp.fc1',
    'mlp.layers.1': 'mlp.fc2',
}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of variance 1 / inputs, biases and norm offsets of 0.2; deterministic."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if 'pos_embed' in name:
                value.copy_(noise * 0.5)
            elif value.dim() > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            elif 'norm' in name and name.endswith('weight') or 'gamma' in name:
                value.copy_(1 + 0.2 * noise)
            else:
                value.copy_(0.2 * noise)
    return model.eval()


def small_vit(seed: int = 0, **changed: Any) -> STAVisionTransformer:
    return randomise(STAVisionTransformer(**{**SMALL, **changed}), seed)


def host_vit(**changed: Any) -> nn.Module:
    """The host's own model with random weights."""
    # Not at the top: the host can only be imported after sta.models has mended it.
    from mmaction.models.backbones.vit_mae import VisionTransformer

    return randomise(VisionTransformer(**{**SMALL, **changed}))


def clips(number: int, seed: int = 0, frames: int = 16, size: int = 32) -> torch.Tensor:
    """Clips whose frames resemble each other: one picture plus half as much noise per frame."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randn(number, 3, 1, size, size, generator=generator)
    return picture + 0.5 * torch.randn(number, 3, frames, size, size, generator=generator)


def videomae_weights(model: nn.Module, *, with_pos_embed: bool = False) -> dict[str, np.ndarray]:
    """The weights under VideoMAE's names."""
    weights = {}
    for name, value in model.state_dict().items():
        for ours, theirs in TO_VIDEOMAE.items():
            name = name.replace(ours, theirs)
        if name != 'pos_embed' or with_pos_embed:
            weights[name] = value.numpy()
    return weights
