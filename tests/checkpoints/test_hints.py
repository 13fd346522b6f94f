"""A checkpoint of another model is told, and which config would fit. Shapes only, where they do."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from sta.checkpoints import load_checkpoint
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.errors import CheckpointError
from tests.checkpoints.sources import authors_names, recognizer, weights_of

ROOT = Path(__file__).parents[2]
SIZES = {'_s': (12, 384), '': (12, 768), '_l': (24, 1024), '_h': (32, 1280)}
CLASSES = {'k400': 400, 'ssv2': 174}


@lru_cache
def model_of(size: str, data: str) -> nn.Module:
    with torch.device('meta'):
        return build_model(load_config(str(ROOT / f'configs/sta_vit{size}_{data}.py')))


def refusal(model: nn.Module, weights: dict[str, torch.Tensor]) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, weights)
    return str(caught.value)


@pytest.mark.parametrize('names', ['mmaction2', 'authors'])
@pytest.mark.parametrize('data', CLASSES)
@pytest.mark.parametrize('size', SIZES)
def test_the_config_that_would_fit(size, data, names) -> None:
    weights = dict(model_of(size, data).state_dict())
    weights = authors_names(weights) if names == 'authors' else weights
    depth, width = SIZES[size]
    config = f'configs/sta_vit{size}_{data}.py'
    assert (ROOT / config).is_file()
    other_size = '_s' if size == '' else ''
    other_data = 'k400' if data == 'ssv2' else 'ssv2'
    for wrong in (model_of(other_size, data), model_of(size, other_data)):
        assert refusal(wrong, weights).endswith(
            f'. It holds {depth} blocks of width {width} and {CLASSES[data]} classes: '
            f'{config} would fit'
        )


def test_a_wrong_class_count_is_told_by_shape() -> None:
    message = refusal(model_of('_s', 'k400'), dict(model_of('_s', 'ssv2').state_dict()))
    assert (
        '(2 of another shape: cls_head.fc_cls.bias (174,) instead of (400,), '
        'cls_head.fc_cls.weight (174, 384) instead of (400, 384))'
    ) in message


def test_no_config_is_named_where_none_fits() -> None:
    message = refusal(recognizer(num_classes=4), weights_of(recognizer()))
    assert message.endswith('. It holds 2 blocks of width 24 and 5 classes')


def test_without_a_head_no_classes_are_claimed() -> None:
    message = refusal(model_of('', 'k400'), dict(model_of('_s', 'k400').backbone.state_dict()))
    assert '. It holds 12 blocks of width 384 but no classifier, ' in message


def vit_weights(num_classes: int = 400, **size: object) -> dict[str, torch.Tensor]:
    """Of a ViT-B but for the changes; shapes without numbers."""
    with torch.device('meta'):
        return dict(recognizer_of_size(num_classes, size).state_dict())


def recognizer_of_size(num_classes: int, size: dict[str, object]) -> nn.Module:
    config = load_config(str(ROOT / 'configs/sta_vit_k400.py'))
    config.model.backbone.update(size)
    config.model.cls_head.update(num_classes=num_classes, in_channels=size.get('embed_dims', 768))
    return build_model(config)


@pytest.mark.parametrize(
    ('classes', 'said'),
    [
        (600, ': Kinetics-600, for which there is no config here. Use one fine-tuned on'),
        (700, 'or a config with model.cls_head.num_classes=700 and lists of that data set'),
        (710, ': Kinetics-710 (Kinetics-400, 600 and 700 together), for which there is no config'),
        (710, 'It is the step before the last of VideoMAE V2: use the checkpoint fine-tuned on'),
    ],
)
def test_other_sets_of_classes(classes, said) -> None:
    weights = authors_names(vit_weights(classes), 'backbone.')
    message = refusal(model_of('', 'k400'), weights)
    assert said in message and '12 blocks of width 768' in message and 'would fit' not in message


def test_the_giant_of_videomae_v2() -> None:
    giant = vit_weights(embed_dims=1408, depth=40, num_heads=16, mlp_ratio=48 / 11, patch_size=14)
    message = refusal(model_of('_h', 'k400'), authors_names(giant))
    assert message.endswith(
        ". It holds 40 blocks of width 1408 and 400 classes: VideoMAE V2's ViT-g, for which there "
        'is no config here; use its ViT-S or ViT-B'
    )


def test_a_config_is_not_proposed_to_itself() -> None:
    weights = vit_weights()
    del weights['backbone.blocks.3.attn.q_bias']
    for model in (model_of('', 'k400'), model_of('', 'k400').backbone):
        message = refusal(model, weights)
        assert message.endswith('. It holds 12 blocks of width 768 and 400 classes')


def test_a_bare_backbone_is_told_the_size_and_not_that_a_head_is_missing() -> None:
    message = refusal(model_of('_s', 'k400').backbone, dict(model_of('', 'k400').state_dict()))
    assert message.endswith('and 400 classes: configs/sta_vit_k400.py would fit')
    alone = dict(model_of('', 'k400').backbone.state_dict())
    message = refusal(model_of('_s', 'k400').backbone, alone)
    assert message.endswith('. It holds 12 blocks of width 768')


def test_three_biases_in_one() -> None:
    """timm's and most others' ViTs; some are fine-tuned for videos."""
    weights = authors_names(vit_weights())
    for name in [name for name in weights if name.endswith('q_bias')]:
        del weights[name], weights[name.replace('q_bias', 'v_bias')]
        weights[name.replace('q_bias', 'qkv.bias')] = torch.zeros(3 * 768)
    message = refusal(model_of('', 'k400'), weights)
    assert '. Its keys have a bias, which those of VideoMAE have not: it is another ViT' in message


SWINS = [('tiny', '_t'), ('small', '_s'), ('base', '')]


@pytest.mark.parametrize(('arch', 'size'), SWINS)
def test_the_videoswin_config_that_would_fit(arch, size) -> None:
    """Told to the config of another size, by the names of the authors."""
    config = f'configs/sta_swin{size}_k400.py'
    with torch.device('meta'):
        weights = dict(build_model(load_config(str(ROOT / config))).state_dict())
        other = 'sta_swin_s_k400' if arch != 'small' else 'sta_swin_t_k400'
        model = build_model(load_config(str(ROOT / f'configs/{other}.py')))
    weights = {name.replace('.norm3.', '.norm.'): tensor for name, tensor in weights.items()}
    assert refusal(model, weights).endswith(f' and 400 classes: {config} would fit')


def test_windows_tell_videoswins_apart() -> None:
    with torch.device('meta'):
        k400, ssv2 = (
            build_model(load_config(str(ROOT / f'configs/sta_swin_{data}.py')))
            for data in ('k400', 'ssv2')
        )
    message = refusal(k400, dict(ssv2.state_dict()))
    assert '5239 relative positions in a window and 174 classes' in message
    assert message.endswith(': configs/sta_swin_ssv2.py would fit')


def test_a_vit_given_to_a_videoswin_and_the_reverse() -> None:
    with torch.device('meta'):
        swin = build_model(load_config(str(ROOT / 'configs/sta_swin_t_k400.py')))
    vit = model_of('_s', 'k400')
    assert refusal(swin, dict(vit.state_dict())).endswith('configs/sta_vit_s_k400.py would fit')
    assert refusal(vit, dict(swin.state_dict())).endswith('configs/sta_swin_t_k400.py would fit')


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
