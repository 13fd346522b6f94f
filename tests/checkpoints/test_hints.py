"""A checkpoint of another model says which config would fit. Shapes only: nothing is allocated."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import nn

from sta.checkpoints import CheckpointError, load_checkpoint
from sta.engine.config import load_config
from sta.engine.session import build_model
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
    assert message.endswith('. It holds 12 blocks of width 384')
