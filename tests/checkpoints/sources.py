"""A small recognizer, and checkpoint files of it in the forms people have."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import sta.models  # noqa: F401  (registers the backbone)
from sta.checkpoints import load_checkpoint, read_state_dict
from sta.errors import CheckpointError
from tests.models.small_vit import randomise

BACKBONE = {
    'type': 'STAVisionTransformer',
    'img_size': 16,
    'patch_size': 8,
    'embed_dims': 24,
    'depth': 2,
    'num_heads': 3,
    'num_frames': 4,
}
NUM_CLASSES = 5
HEAD_NAMES = ('cls_head.fc_cls.bias', 'cls_head.fc_cls.weight')

Weights = dict[str, Tensor]


def recognizer(seed: int = 0, num_classes: int = NUM_CLASSES, **backbone: Any) -> nn.Module:
    """mmaction2's Recognizer3D around our backbone, with random weights."""
    init_default_scope('mmaction')
    settings = {**BACKBONE, **backbone}
    head = {
        'type': 'TimeSformerHead',
        'num_classes': num_classes,
        'in_channels': settings['embed_dims'],
        'average_clips': 'prob',
    }
    model = MODELS.build({'type': 'Recognizer3D', 'backbone': settings, 'cls_head': head})
    return randomise(model, seed)


def logits(model: nn.Module) -> Tensor:
    """Of two fixed clips, (2, classes)."""
    clips = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return model.cls_head(model.backbone(clips))


def weights_of(model: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def authors_names(weights: Weights, prefix: str = '') -> Weights:
    """What the authors of VideoMAE call the weights; their position table is not stored."""
    renamed = OrderedDict()
    for name, tensor in weights.items():
        name = name.removeprefix('backbone.').replace('cls_head.fc_cls.', 'head.')
        name = name.replace('patch_embed.projection.', 'patch_embed.proj.')
        name = name.replace('.layers.0.0.', '.fc1.').replace('.layers.1.', '.fc2.')
        if name != 'pos_embed':
            renamed[prefix + name] = tensor
    return renamed


def with_prefix(weights: Weights, prefix: str) -> Weights:
    return OrderedDict((prefix + name, tensor) for name, tensor in weights.items())


NAMINGS = {
    'authors': authors_names,
    'authors, distributed': lambda weights: authors_names(weights, 'module.'),
    'authors, version 2': lambda weights: authors_names(weights, 'backbone.'),
    'authors, in a wrapper': lambda weights: authors_names(weights, 'model.'),
    'mmaction2': OrderedDict,
    'mmaction2, distributed': lambda weights: with_prefix(weights, 'module.'),
}


def training_arguments() -> argparse.Namespace:
    return argparse.Namespace(
        model='vit_small', lr=1e-3, betas=[0.9, 0.999], output_dir=Path('out'), distributed=True
    )


def optimizer_state() -> dict[str, Any]:
    """AdamW's own, after a step."""
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


WRAPPINGS = {
    'bare': lambda weights: weights,
    'model': lambda weights: {
        'model': weights,
        'optimizer': optimizer_state(),
        'epoch': 99,
        'scaler': {'scale': 65536.0, '_growth_tracker': 3},
        'args': training_arguments(),
    },
    'deepspeed': lambda weights: {
        'module': weights,
        'buffer_names': [],
        'optimizer': None,
        'lr_scheduler': None,
        'csr_tensor_module_names': set(),
        'global_steps': 25000,
        'dp_world_size': 64,
        'args': training_arguments(),
    },
    'state_dict': lambda weights: {'state_dict': weights, 'meta': {'epoch': 3, 'cfg': 'a = 1\n'}},
    'model_state_dict': lambda weights: {'model_state_dict': weights, 'loss': 0.3},
    'twice': lambda weights: {'state_dict': {'model': weights}},
}


class Touch:
    """Unpickled without care it makes a call, such as one that makes a file."""

    def __init__(self, call: Callable, *arguments: Any) -> None:
        self.parts = call, arguments

    def __reduce__(self) -> tuple:
        return self.parts


def refusal(source: Path | str | Weights, model: nn.Module | None = None) -> str:
    """The line of a refusal to read a file, which names it, or to load it into a model.

    Args:
        source: a file, which is read where no model is given, or weights.
        model: which must stay as it was; by default a small one for weights.
    """
    if model is None and isinstance(source, dict):
        model = recognizer(seed=1)
    before = {} if model is None else weights_of(model)
    with pytest.raises(CheckpointError) as caught:
        if model is None:
            read_state_dict(source)
        else:
            load_checkpoint(model, source)
    message = str(caught.value)
    assert '\n' not in message and (isinstance(source, dict) or str(source) in message)
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor), f'{name} was changed before it failed'
    return message
