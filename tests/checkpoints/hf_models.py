"""Small models of transformers with random weights; only where transformers is installed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.checkpoints.sources import NUM_CLASSES, Weights
from tests.models.small_vit import randomise

SIZE = {
    'image_size': 16,
    'patch_size': 8,
    'num_frames': 4,
    'hidden_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 96,
    'num_labels': NUM_CLASSES,
}
"""That of tests.checkpoints.sources.recognizer."""


def hf_model(kind: str = 'VideoMAEForVideoClassification', seed: int = 2, **config: Any):
    """A model of transformers; `kind` is the name of its class."""
    import transformers

    settings = transformers.VideoMAEConfig(**{**SIZE, **config})
    return randomise(getattr(transformers, kind)(settings), seed)


def with_eps(model: nn.Module, eps: float) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
    return model


def hf_logits(model: nn.Module) -> Tensor:
    """Of the two clips of tests.checkpoints.sources.logits; frames stand before channels here."""
    clips = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return model(clips.transpose(1, 2)).logits


def older_names(weights: Weights) -> Weights:
    """Those of transformers 4: biases of the attention, not of its projections."""
    renamed = {}
    for name, tensor in weights.items():
        for part in ('query', 'value'):
            name = name.replace(f'attention.{part}.bias', f'attention.{part[0]}_bias')
        renamed[name] = tensor
    return renamed
