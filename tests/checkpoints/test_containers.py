"""Weights are found in the containers they come in; what holds none is told by what it holds."""

from __future__ import annotations

import pytest
import torch

from sta.checkpoints import read_state_dict
from sta.checkpoints.reader import read_contents
from tests.checkpoints.refusals import refusal
from tests.checkpoints.sources import WRAPPINGS, recognizer, weights_of


@pytest.mark.parametrize(
    'content',
    [
        {'weights': {'a': torch.zeros(1)}},
        [{'a': torch.zeros(1)}],
        torch.zeros(3),
        {'model': None},
        {'model': {'layers': {'a': torch.zeros(1)}}},
        {},
        'a string',
    ],
    ids=['other name', 'list', 'tensor', 'none', 'nested', 'empty', 'string'],
)
def test_containers_without_named_tensors(content, tmp_path) -> None:
    torch.save(content, tmp_path / 'ckpt.pth')
    said = refusal(tmp_path / 'ckpt.pth')
    inner = content.get('model') or content if isinstance(content, dict) else content
    held = f'a dict of {sorted(inner)}' if isinstance(inner, dict) else type(inner).__name__
    assert f'ckpt.pth holds no weights but {held}: expected named tensors, or a dict with ' in said


def test_a_tensor_beside_the_container_does_not_hide_the_weights(tmp_path) -> None:
    weights = weights_of(recognizer())
    torch.save({'epoch': torch.tensor(3), 'model': weights}, tmp_path / 'ckpt.pth')
    assert set(read_state_dict(tmp_path / 'ckpt.pth')) == set(weights)


def test_an_optimizer_first_does_not_hide_the_weights(tmp_path) -> None:
    weights = weights_of(recognizer())
    content = {'optimizer': {'state': {0: {'exp_avg': torch.zeros(2)}}}, 'state_dict': weights}
    torch.save(content, tmp_path / 'ckpt.pth')
    assert set(read_state_dict(tmp_path / 'ckpt.pth')) == set(weights)


def test_what_lies_beside_the_weights_is_named(tmp_path) -> None:
    torch.save(WRAPPINGS['model'](weights_of(recognizer())), tmp_path / 'ckpt.pth')
    beside = read_contents(tmp_path / 'ckpt.pth').beside
    assert beside == ('optimizer', 'epoch', 'scaler', 'args')
    nested = {'epoch': 3, 'state_dict': {'a': torch.zeros(1), '_metadata': {}}}
    torch.save(nested, tmp_path / 'nested.pth')
    assert read_contents(tmp_path / 'nested.pth').beside == ('epoch', '_metadata')
