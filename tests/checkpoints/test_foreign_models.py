"""Checkpoints of other models are told by their names or by their patch embedding."""

from __future__ import annotations

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from sta.checkpoints import load_checkpoint
from sta.errors import CheckpointError
from tests.checkpoints.sources import recognizer


def refusal(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, weights)
    return str(caught.value)


PRE_TRAINING = (
    'It is a pre-training checkpoint with a decoder: use the fine-tuned one, or train from it with '
    'pretrained=FILE in the config'
)
CLASS_TOKEN = 'It has a class token, as image ViTs have and VideoMAE has not'
OTHER_MODELS = {
    'encoder.blocks.0.mlp.fc1.weight decoder.blocks.0.mlp.fc1.weight mask_token': PRE_TRAINING,
    'encoder.blocks.0.mlp.fc1.weight encoder_to_decoder.weight': PRE_TRAINING,
    'blocks.0.mlp.fc1.weight cls_token patch_embed.proj.weight': CLASS_TOKEN,
    'vit.encoder.layer.0.attention.attention.query.weight vit.embeddings.cls_token': CLASS_TOKEN,
    'visual.class_embedding visual.conv1.weight': CLASS_TOKEN,
    'backbone.transformer_layers.layers.0.attentions.0.temporal_fc.weight': 'It is a TimeSformer',
    'backbone.blocks.0.mlp.fc1.weight backbone.blocks.0.attn.rel_pos_h': 'It is an MViT',
    'backbone.blocks1.0.mlp.fc1.weight backbone.blocks3.0.norm1.weight': 'It is a UniFormer',
    'backbone.slow_path.layer1.0.conv1.conv.weight': 'It is a SlowFast network',
    'backbone.layer1.0.conv1.conv.weight cls_head.fc_cls.weight': 'It is a ResNet (TSN, TSM, I3D',
    'layer4.1.conv2.weight fc.weight': 'It is a ResNet (TSN, TSM, I3D',
}


@pytest.mark.parametrize('names', OTHER_MODELS)
def test_other_models_are_told_by_their_names(names) -> None:
    message = refusal(recognizer(), {name: torch.zeros(2) for name in names.split()})
    assert f'. {OTHER_MODELS[names]}' in message and 'would fit' not in message


@pytest.mark.parametrize(
    ('type_name', 'settings', 'said'),
    [
        ('ResNet', dict(depth=18), 'It is a ResNet'),
        ('ResNet3dSlowFast', dict(), 'It is a SlowFast network'),
        (
            'TimeSformer',
            dict(num_frames=2, img_size=32, patch_size=16, num_transformer_layers=1),
            'It is a TimeSformer',
        ),
        ('MViT', dict(arch='tiny'), 'It is an MViT'),
        (
            'UniFormer',
            dict(depth=[1] * 4, embed_dim=[8] * 4, head_dim=8),
            'It is a UniFormer',
        ),
    ],
)
def test_backbones_of_mmaction2(type_name, settings, said) -> None:
    """Built by mmaction2 itself, under the names its checkpoints have."""
    init_default_scope('mmaction')
    other = MODELS.build(dict(type=type_name, **settings))
    assert said in refusal(recognizer(), other.state_dict(prefix='backbone.'))


@pytest.mark.parametrize('kind', ['vit', 'swin'])
def test_models_of_images(kind) -> None:
    marks = {'vit': 'mlp.fc1.weight', 'swin': 'attn.relative_position_bias_table'}
    place = {'vit': 'blocks.0', 'swin': 'layers.0.blocks.0'}[kind]
    weights = {f'{place}.{marks[kind]}': torch.zeros(2, 2)}
    weights['patch_embed.proj.weight'] = torch.zeros(2, 3, 4, 4)
    message = refusal(recognizer(), weights)
    assert '. It embeds images, not tubelets: a model of images' in message
    assert message.endswith('pretrained2d=True') is (kind == 'swin')
