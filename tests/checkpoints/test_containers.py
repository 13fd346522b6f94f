"""Weights are found in the containers they come in; what holds none is told by what it holds."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from sta.checkpoints import load_checkpoint, load_encoder, read_state_dict
from sta.checkpoints.read import read_contents
from sta.errors import CheckpointError
from tests.checkpoints.sources import (
    WRAPPINGS,
    Weights,
    recognizer,
    refusal,
    weights_of,
    with_prefix,
)


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


def raw() -> Weights:
    return weights_of(recognizer(seed=2))


def averaged() -> Weights:
    return weights_of(recognizer(seed=3))


def averaged_model() -> Weights:
    """As mmengine and torch store it: a model under 'module.' and a count."""
    return {'steps': torch.tensor(7), **with_prefix(averaged(), 'module.')}


def mmcv_buffers() -> Weights:
    return {f'ema_{name.replace(".", "_")}': tensor for name, tensor in averaged().items()}


# What a file holds; what is taken; what the line says; what takes the others.
SEVERAL = {
    'authors': (lambda: {'model': raw(), 'model_ema': averaged()}, 'model', 'model_ema'),
    'timm': (lambda: {'state_dict': raw(), 'state_dict_ema': averaged()}, 'state_dict', None),
    'on top': (lambda: {**raw(), 'ema': averaged()}, 'the weights on top', 'ema'),
    'callback': (
        lambda: {'state_dict': raw(), 'callbacks': {'EMA{0.9}': {'ema_state_dict': averaged()}}},
        'state_dict',
        'callbacks.EMA{0.9}.ema_state_dict',
    ),
}


@pytest.mark.parametrize('kind', SEVERAL)
def test_averaged_weights_in_a_container_of_their_own(kind, tmp_path) -> None:
    make, taken, name = SEVERAL[kind]
    name = name or f'{taken}_ema'
    torch.save(make(), tmp_path / 'ckpt.pth')
    note = (
        f'took {taken}, not the averaged weights (EMA) of {name}; tools/convert_checkpoint.py '
        f'--take {name} writes those'
    )
    for load in (load_checkpoint, load_encoder):
        model = recognizer(seed=1)
        assert note in str(load(model, tmp_path / 'ckpt.pth'))
        assert torch.equal(model.backbone.fc_norm.bias, raw()['backbone.fc_norm.bias'])
    found = read_contents(tmp_path / 'ckpt.pth', take=name)
    assert same(found.tensors, averaged()) and found.notes == (f'took {name}, as asked for',)


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[n]) for n, t in one.items())


def test_the_hook_of_mmengine_stores_the_average_as_the_state_dict() -> None:
    """By the hook itself: which of the two is the average is said the right way round."""
    hook, checkpoint = EMAHook(), {'state_dict': raw()}
    hook.ema_model = torch.nn.Module()
    hook.ema_model.module = recognizer(seed=3)
    hook.ema_model.register_buffer('steps', torch.tensor(7))
    hook.before_save_checkpoint(Runner.__new__(Runner), checkpoint)
    model = recognizer(seed=1)
    said = str(load_checkpoint(model, checkpoint))
    assert same(weights_of(model), averaged())
    assert said.endswith(
        'took state_dict, which holds the averaged weights (EMA): the training stored the raw ones '
        'as ema_state_dict; tools/convert_checkpoint.py --take ema_state_dict writes those'
    )
    load_checkpoint(model, read_of(checkpoint, 'ema_state_dict'))
    assert same(weights_of(model), raw())


def read_of(content: dict, take: str) -> Weights:
    from sta.checkpoints.containers import find_tensors

    return find_tensors(content, 'test', take).tensors


def test_averaged_weights_of_lightning() -> None:
    content = {'state_dict': averaged(), 'current_model_state': raw(), 'averaging_state': {}}
    said = str(load_checkpoint(recognizer(), content))
    assert 'took state_dict, which holds the averaged weights (EMA): the training stored' in said
    assert same(read_of(content, 'current_model_state'), raw())


@pytest.mark.parametrize('front', ['', 'module.'])
def test_the_buffers_of_mmcv_1(front, tmp_path) -> None:
    content = {'state_dict': with_prefix(raw() | mmcv_buffers(), front)}
    torch.save(content, tmp_path / 'ckpt.pth')
    model = recognizer(seed=1)
    said = str(load_checkpoint(model, tmp_path / 'ckpt.pth'))
    assert same(weights_of(model), raw())
    assert "in which mmcv 1's EMAHook stores the averaged weights (EMA) at the end of an ep" in said
    assert f'not the {len(raw())} ema_ buffers' in said
    assert same(read_state_dict(tmp_path / 'ckpt.pth', take='ema_'), averaged())


@pytest.mark.parametrize(
    'extra',
    [
        {'ema_decay_rate': torch.zeros(3)},
        {'ema_cls_head_fc_cls_bias': torch.zeros(3)},
    ],
    ids=['no such weight', 'another shape'],
)
def test_a_buffer_that_belongs_to_no_weight_is_not_passed_over(extra) -> None:
    with pytest.raises(CheckpointError, match=r'1 unexpected: .*ema_'):
        load_checkpoint(recognizer(), {**raw(), **extra})


@pytest.mark.parametrize('front', ['ema_model.module.', 'model_ema.', 'ema.ema_model.', 'swa_net.'])
def test_averaged_weights_under_a_prefix(front) -> None:
    content = {**with_prefix(raw(), 'model.'), **with_prefix(averaged(), front)}
    content[f'{front.partition(".")[0]}.n_averaged'] = torch.tensor(3)
    model = recognizer(seed=1)
    said = str(load_checkpoint(model, content))
    assert 'did not take the averaged weights (EMA) under ' in said and '\n' not in said
    assert same(weights_of(model), raw())
    load_checkpoint(model, read_of(content, front.replace('module.', '')))
    assert same(weights_of(model), averaged())


@pytest.mark.parametrize(
    'content',
    [
        lambda: {'model_ema': averaged(), 'optimizer': {}},
        lambda: with_prefix(averaged(), 'ema_model.'),
        lambda: {'n_averaged': torch.tensor(3), **with_prefix(averaged(), 'module.')},
    ],
    ids=['container', 'prefix', 'torch'],
)
def test_averaged_weights_alone_are_taken_and_told(content) -> None:
    model = recognizer(seed=1)
    said = str(load_checkpoint(model, content()))
    assert 'averaged weights (EMA), the only ones there' in said
    assert same(weights_of(model), averaged())


def test_averaged_weights_that_cannot_be_read_are_told_without_a_command() -> None:
    """Names without dots, as latent diffusion's LitEma stores them; a list, as diffusers does."""
    flat = {f'model_ema.{name.replace(".", "")}': tensor for name, tensor in averaged().items()}
    for content, end in (
        ({**with_prefix(raw(), 'model.'), **flat}, 'the averaged weights (EMA) under model_ema.'),
        (
            {'model': raw(), 'ema': {'shadow_params': list(averaged().values())}},
            'took model, not the averaged weights (EMA) of ema',
        ),
    ):
        model = recognizer(seed=1)
        assert str(load_checkpoint(model, content)).endswith(end)
        assert same(weights_of(model), raw())


def test_two_whole_models_in_containers_are_not_picked_from(tmp_path) -> None:
    for names in (('student', 'teacher'), ('state_dict', 'model')):
        torch.save(dict(zip(names, (raw(), averaged()))), tmp_path / 'ckpt.pth')
        assert f'holds several models, {", ".join(names)}: write the one you mean' in refusal(
            tmp_path / 'ckpt.pth'
        )
        assert same(read_state_dict(tmp_path / 'ckpt.pth', take=names[1]), averaged())
    torch.save({'model': raw(), 'teacher': averaged()}, tmp_path / 'ckpt.pth')
    assert (
        read_contents(tmp_path / 'ckpt.pth')
        .notes[0]
        .startswith('took model, not the weights of teacher; ')
    )
    torch.save({'state_dict': raw(), 'model': raw()}, tmp_path / 'ckpt.pth')
    assert same(read_state_dict(tmp_path / 'ckpt.pth'), raw())


def test_asking_for_what_is_not_there(tmp_path) -> None:
    torch.save({'model': raw(), 'model_ema': averaged()}, tmp_path / 'ckpt.pth')
    with pytest.raises(CheckpointError, match='has nothing under ema; it has .*model_ema, backbo'):
        read_state_dict(tmp_path / 'ckpt.pth', take='ema')
