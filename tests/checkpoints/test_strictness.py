"""What does not fit is refused by name, and the model keeps the weights it had."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.errors import CheckpointError
from tests.checkpoints.sources import (
    HEAD_NAMES,
    NAMINGS,
    authors_names,
    recognizer,
    refusal,
    weights_of,
    with_prefix,
)


@pytest.mark.parametrize('naming', NAMINGS)
@pytest.mark.parametrize(
    'missing', ['blocks.1.attn.q_bias', 'blocks.0.attn.v_bias', 'fc_norm.weight', 'head.bias']
)
def test_one_missing_weight_is_named(naming, missing) -> None:
    """Above all q_bias and v_bias: to leave them at zero in silence costs accuracy."""
    weights = weights_of(recognizer(seed=2))
    name = 'cls_head.fc_cls.bias' if missing == 'head.bias' else f'backbone.{missing}'
    del weights[name]
    message = refusal(NAMINGS[naming](weights))
    assert message.startswith(f'state dict does not fit the model (1 missing: {name}).')


NORM, MLP = 'backbone.fc_norm.bias', 'backbone.blocks.0.mlp.layers.1.weight'
SHAPE = f'(1 of another shape: {NORM} (23,) instead of (24,))'
# Changes to the weights, what is said, and names that a terminal would take for commands.
CHANGES = {
    'unexpected': (
        {'backbone.blocks.0.attn.qkv.bias': torch.zeros(72)},
        '(1 unexpected: backbone.',
    ),
    'escapes': (
        {'backbone.\x1b[2J\nerror: none': torch.zeros(1)},
        r"(1 unexpected: 'backbone.\x1b[2J\nerror: none')",
    ),
    'shape': ({NORM: torch.zeros(23)}, SHAPE),
    'transposed': (
        {MLP: torch.zeros(96, 24)},
        f'1 of another shape: {MLP} (96, 24) instead of (24',
    ),
    'another name': ({'blocks.0.norm1.weight': torch.zeros(24)}, 'backbone.blocks.0.norm1.weight'),
}


@pytest.mark.parametrize('kind', CHANGES)
def test_one_weight_that_does_not_fit_is_named(kind) -> None:
    change, said = CHANGES[kind]
    message = refusal({**weights_of(recognizer(seed=2)), **change})
    assert said in message and '\x1b' not in message


def test_an_unexpected_name_of_the_authors_is_named() -> None:
    weights = authors_names(weights_of(recognizer(seed=2)))
    weights['mask_token'] = torch.zeros(1, 1, 24)
    assert '(1 unexpected: mask_token)' in refusal(weights)


def test_all_problems_are_told_at_once_and_long_lists_are_cut() -> None:
    weights = weights_of(recognizer(seed=2))
    for i in range(5):
        weights[f'backbone.extra{i}'] = torch.zeros(1)
    del weights['backbone.fc_norm.bias']
    weights['cls_head.fc_cls.bias'] = torch.zeros(7)
    message = refusal(weights)
    assert (
        '(1 missing: backbone.fc_norm.bias; 5 unexpected: backbone.extra0, backbone.extra1, '
        'backbone.extra2, ...; 1 of another shape: cls_head.fc_cls.bias (7,) instead of (5,))'
    ) in message


def test_a_recognizer_needs_a_head() -> None:
    weights = weights_of(recognizer(seed=2).backbone)
    for source in (weights, with_prefix(weights, 'backbone.'), authors_names(weights)):
        assert f'(2 missing: {HEAD_NAMES[0]}, {HEAD_NAMES[1]})' in refusal(source)


def test_two_tensors_of_one_name(tmp_path) -> None:
    weights = weights_of(recognizer(seed=2))
    name = 'backbone.blocks.0.norm1.weight'
    weights[name.removeprefix('backbone.')] = torch.zeros(24)
    assert name in refusal(weights)
    torch.save(weights, tmp_path / 'twice.pth')
    message = refusal(tmp_path / 'twice.pth', recognizer(seed=1))
    assert name in message


def test_an_encoder_beside_a_model_is_not_picked_from() -> None:
    named = authors_names(weights_of(recognizer(seed=2)))
    both = {**named, **authors_names(weights_of(recognizer(seed=3)), 'encoder.')}
    assert refusal(both) == (
        'state dict holds several models, encoder., those without a prefix (blocks.0.norm1.weight '
        'and encoder.blocks.0.norm1.weight are one weight): write the one you mean to a file of '
        'its own, tools/convert_checkpoint.py FILE TARGET --take encoder.'
    )


def test_names_of_no_known_kind_are_listed_with_the_known_ones() -> None:
    names = ['features.0.weight', 'features.0.bias', 'classifier.weight']
    message = refusal({name: torch.zeros(3) for name in names})
    assert 'its names (classifier.weight, features.0.bias, features.0.weight)' in message
    assert 'VideoMAE, STA and VideoSwin, and mmaction2' in message


def test_an_empty_state_dict() -> None:
    assert refusal({}).startswith('state dict holds no weights')


@pytest.mark.parametrize(
    'spoil',
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor * float('nan'),
        lambda tensor: tensor / 0,
    ],
    ids=['sparse', 'complex', 'nan', 'infinite'],
)
def test_values_that_are_no_weights(spoil) -> None:
    weights = weights_of(recognizer(seed=2))
    name = 'backbone.blocks.1.mlp.layers.1.weight'
    weights[name] = spoil(weights[name])
    assert name in refusal(weights)


def test_arrays_of_numpy_load_or_are_refused() -> None:
    """Either is fine; half a model or a traceback is not."""
    saved = recognizer(seed=2)
    arrays = {name: tensor.numpy() for name, tensor in saved.state_dict().items()}
    model = recognizer(seed=1)
    try:
        load_checkpoint(model, arrays)
    except CheckpointError:
        saved = recognizer(seed=1)
    for name, tensor in saved.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], tensor, err_msg=name)


def test_names_that_are_no_text(tmp_path) -> None:
    torch.save({0: torch.zeros(1), 1: torch.zeros(2)}, tmp_path / 'numbers.pth')
    refusal(tmp_path / 'numbers.pth', recognizer(seed=1))


@pytest.mark.parametrize('change', [{'num_frames': 8}, {'img_size': 32}])
def test_a_position_table_for_another_grid(change) -> None:
    """Stored, it does not fit; where the source stores none, the model's own is right."""
    weights = weights_of(recognizer(seed=2))
    model = recognizer(seed=1, **change)
    shape = tuple(model.backbone.pos_embed.shape)
    assert f'backbone.pos_embed (1, 8, 24) instead of {shape}' in refusal(weights, model)
    own = model.backbone.pos_embed.clone()
    load_checkpoint(model, authors_names(weights))
    assert torch.equal(model.backbone.pos_embed, own)


def test_a_learned_position_table_is_never_left_out() -> None:
    model = recognizer(seed=1, use_learnable_pos_emb=True)
    weights = authors_names(weights_of(recognizer(seed=2)))
    assert '(1 missing: backbone.pos_embed)' in refusal(weights, model)
