"""Encoders are loaded strictly, whatever stands beside them; the classifier keeps its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sta.checkpoints import load_checkpoint, load_encoder
from sta.errors import CheckpointError
from tests.checkpoints.hf_models import hf_model
from tests.checkpoints.sources import HEAD_NAMES, Weights, authors_names, recognizer, weights_of
from tests.checkpoints.test_swin_checkpoints import swin

NORM = ('backbone.fc_norm.bias', 'backbone.fc_norm.weight')


def authors_pretraining(weights: Weights) -> Weights:
    """As VideoMAE's pre-training saves it: encoder with a norm of its own, decoder, mask token."""
    named = authors_names(weights)
    found = {
        f'encoder.{name}': tensor
        for name, tensor in named.items()
        if not name.startswith(('head.', 'fc_norm.'))
    }
    for name, tensor in named.items():
        if name.startswith('blocks.0.'):
            found[f'decoder.{name}'] = tensor[:1] + 7  # of another width
    for part in ('weight', 'bias'):
        found[f'encoder.norm.{part}'] = torch.full((24,), 3.0)
        found[f'decoder.head.{part}'] = torch.ones(5)
    return {**found, 'mask_token': torch.ones(1, 1, 12), 'encoder_to_decoder.weight': torch.ones(9)}


def differing(one: Weights, other: Weights) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


def is_body(name: str) -> bool:
    return name.startswith(('backbone.patch_embed.', 'backbone.blocks.'))


def test_the_authors_pre_training_checkpoint() -> None:
    teacher, model = recognizer(seed=1), recognizer(seed=2)
    before = weights_of(model)
    report = load_encoder(model, authors_pretraining(weights_of(teacher)))
    after = weights_of(model)
    assert differing(before, after) == {name for name in before if is_body(name)}
    assert differing(weights_of(teacher), after) == {*HEAD_NAMES, *NORM}
    assert set(report.anew) == {*HEAD_NAMES, *NORM}
    assert report.num_loaded == sum(map(is_body, before))
    assert {'mask_token', 'encoder_to_decoder.weight', 'backbone.norm.bias'} <= set(report.unused)
    said = str(report)
    assert 'begin anew: ' in said and all(name in said for name in report.anew)


def test_pre_training_of_transformers() -> None:
    """Its encoder gives the features that the same encoder gives under a classifier."""
    pytest.importorskip('transformers')
    decoder = {
        'decoder_hidden_size': 12,
        'decoder_num_hidden_layers': 1,
        'decoder_num_attention_heads': 2,
        'decoder_intermediate_size': 24,
        'use_mean_pooling': False,
    }
    source = hf_model('VideoMAEForPreTraining', seed=4, **decoder)
    classifier = hf_model(seed=5)
    shared = {
        name: tensor
        for name, tensor in source.videomae.state_dict().items()
        if not name.startswith('layernorm.')
    }
    assert classifier.videomae.load_state_dict(shared, strict=False).unexpected_keys == []
    wanted, model = recognizer(seed=1), recognizer(seed=2)
    load_checkpoint(wanted, weights_of(classifier))
    report = load_encoder(model, weights_of(source))
    assert differing(weights_of(wanted), weights_of(model)) == {*HEAD_NAMES, *NORM}
    assert any(name.startswith('decoder.') for name in report.unused)


def test_a_fine_tuned_model_of_other_classes() -> None:
    """Its last norm is taken along, its classifier is not."""
    teacher, model = recognizer(seed=1, num_classes=9), recognizer(seed=2)
    before = weights_of(model)
    report = load_encoder(model, weights_of(teacher))
    found = differing(before, weights_of(model))
    assert found == {n for n in before if is_body(n) or n in NORM}
    assert set(report.anew) == set(report.unused) == set(HEAD_NAMES)


def without(weights: Weights, name: str) -> Weights:
    return {n: tensor for n, tensor in weights.items() if n != name}


def replaced(weights: Weights, name: str, tensor: Tensor) -> Weights:
    return {**weights, name: tensor}


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda w: without(w, 'encoder.blocks.1.attn.q_bias'), 'blocks.1.attn.q_bias'),
        (lambda w: replaced(w, 'encoder.blocks.2.norm1.bias', torch.ones(24)), 'unexpected'),
        (lambda w: replaced(w, 'encoder.patch_embed.proj.bias', torch.ones(3)), '(3,) instead of'),
        (
            lambda w: replaced(w, 'encoder.blocks.0.norm1.bias', torch.full((24,), torch.nan)),
            'NaN',
        ),
    ],
)
def test_an_encoder_that_does_not_fit_changes_nothing(change, said) -> None:
    model = recognizer(seed=2)
    before = weights_of(model)
    with pytest.raises(CheckpointError) as refused:
        load_encoder(model, change(authors_pretraining(weights_of(recognizer(seed=1)))))
    assert said in str(refused.value) and '\n' not in str(refused.value)
    assert differing(before, weights_of(model)) == set()


def test_a_head_pooling_the_first_token_takes_the_norm_of_the_encoder() -> None:
    model = recognizer(seed=2, use_mean_pooling=False)
    report = load_encoder(model, authors_pretraining(weights_of(recognizer(seed=1))))
    assert set(report.anew) == set(HEAD_NAMES)
    assert torch.equal(model.backbone.norm.weight, torch.full((24,), 3.0))


def test_videoswin_of_other_classes() -> None:
    """Its last norm is one of the body's."""
    teacher, model = swin(seed=1), swin(seed=2)
    weights = weights_of(teacher)
    weights['cls_head.fc_cls.weight'] = torch.ones(3, 96)
    report = load_encoder(model, weights)
    assert differing(weights_of(teacher), weights_of(model)) == set(HEAD_NAMES)
    assert set(report.anew) == set(HEAD_NAMES)
    with pytest.raises(CheckpointError, match='backbone.norm3.bias'):
        load_encoder(model, without(weights, 'backbone.norm3.bias'))
