"""What holds of both backbones: settings, batches, gradients, blank clips, and no traces left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch

from sta.errors import ScheduleError
from sta.models.prunable import PrunableBackbone
from sta.pruning import Variant
from tests.models import small_swin, small_vit


class Kind(NamedTuple):
    build: Callable[..., PrunableBackbone]
    clips: Callable[..., torch.Tensor]
    pruners: dict[str, dict]
    schedules: tuple[Any, ...]
    too_much: Any
    variants: tuple[Variant, ...] = ()

    def pruned(self, name: str) -> PrunableBackbone:
        """Under a pruner, which drops square numbers where it drops from cells."""
        schedule = [25, 9, 1] if self is KINDS['swin'] and name == 'grid' else self.schedules[0]
        return self.build(schedule=schedule, pruner=self.pruners[name])


KINDS = {
    'vit': Kind(
        small_vit.small_vit,
        small_vit.clips,
        small_vit.PRUNERS,
        (4, [3, 4, 5]),
        16,
        (Variant('merge', small_vit.PRUNERS['merge'], 3),),
    ),
    'swin': Kind(
        small_swin.small_swin,
        partial(small_vit.clips, frames=8, size=64),
        small_swin.PRUNERS,
        (small_swin.DROPS, [20, 0, 0], 8),
        [1, 2],
    ),
}
CASES = [(kind, name) for kind, known in KINDS.items() for name in known.pruners]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def output(model: PrunableBackbone, kind: Kind) -> torch.Tensor:
    with torch.no_grad():
        return model(kind.clips(1))


def test_settings_can_be_changed_and_changed_back(kind: Kind) -> None:
    model = kind.build()
    outputs = {None: output(model, kind)}
    for schedule in kind.schedules:
        model.set_schedule(schedule)
        outputs[str(schedule)] = output(model, kind)
    model.set_pruner(kind.pruners['random'])
    outputs['random'] = output(model, kind)
    for variant in kind.variants:
        model.set_variant(variant)
        outputs[variant.name] = output(model, kind)
    found = list(outputs.values())
    assert all(
        a.shape != b.shape or not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i]
    )
    model.set_variant(Variant('sta', kind.pruners['sta'], kind.schedules[0]))
    assert torch.equal(output(model, kind), outputs[str(kind.schedules[0])])
    model.set_schedule(None)
    assert torch.equal(output(model, kind), outputs[None])


def test_using_restores_what_was_there(kind: Kind) -> None:
    model = kind.build(schedule=kind.schedules[0], pruner=kind.pruners['random'])
    before = output(model, kind)
    other = Variant('sta', kind.pruners['sta'], kind.schedules[1])
    with model.using(model.bind(other)):
        inside = output(model, kind)
        with model.using(Variant('none', None, None)):
            assert torch.equal(output(model, kind), output(kind.build(), kind))
        assert torch.equal(output(model, kind), inside)
    assert torch.equal(inside, output(kind.build(schedule=kind.schedules[1]), kind))
    assert torch.equal(output(model, kind), before)
    with pytest.raises(KeyError), model.using(other):
        raise KeyError
    bad = Variant('bad', kind.pruners['sta'], kind.too_much)
    with pytest.raises(ScheduleError), model.using(bad):
        pass
    assert torch.equal(output(model, kind), before)


@pytest.mark.parametrize(
    'name', ['schedules', 'img_sizes', 'window', 'pretrain', 'prunner', 'num_classes']
)
def test_misspelt_arguments_are_refused(kind: Kind, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        kind.build(**{name: 1})


@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_a_clip_does_not_feel_its_batch(kind: str, name: str) -> None:
    """Alone, in another place, beside other clips: the same tokens stay."""
    model, x = KINDS[kind].pruned(name), KINDS[kind].clips(4)
    with torch.no_grad():
        feature, kept = model(x, return_kept=True)
        for batch in ([2], [3, 2], [2, 2, 2, 0, 1]):
            at = batch.index(2)
            found, found_kept = model(x[batch], return_kept=True)
            assert all(torch.equal(a[at], b[2]) for a, b in zip(found_kept, kept, strict=True))
            torch.testing.assert_close(found[at], feature[2], atol=1e-5, rtol=0)


def snapshot(model: torch.nn.Module) -> dict[str, dict]:
    """Every attribute of every module, tensors by value."""
    return {
        name: {
            key: value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)
            for part in (vars(module), module._parameters, module._buffers)
            for key, value in part.items()
            if key != '_modules'
        }
        for name, module in model.named_modules()
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, torch.nn.Module):
        return same(snapshot(left), snapshot(right))
    if hasattr(left, '__dict__') and not callable(left):
        return same(vars(left), vars(right))
    return left is right or left == right or callable(left)


@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_a_forward_pass_leaves_nothing_behind(kind: str, name: str) -> None:
    model, clips = KINDS[kind].pruned(name), KINDS[kind].clips
    before, numbers = snapshot(model), torch.get_rng_state()
    first = model(clips(2))
    model(clips(3, seed=1), return_kept=True)
    assert same(before, snapshot(model))
    assert torch.equal(numbers, torch.get_rng_state())
    assert torch.equal(first, model(clips(2)))
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ('kind', 'changed'),
    [
        ('vit', {}),
        ('vit', {'init_values': 0.1, 'use_learnable_pos_emb': True}),
        ('vit', {'pruner': small_vit.PRUNERS['merge']}),
        ('swin', {}),
        ('swin', {'with_cp': True}),
    ],
    ids=str,
)
def test_gradients_reach_every_parameter(kind: str, changed: dict) -> None:
    model = KINDS[kind].build(schedule=KINDS[kind].schedules[0], **changed).train()
    model(KINDS[kind].clips(2)).square().sum().backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all() and value.grad.abs().sum() > 0, name


@pytest.mark.parametrize('value', [0.0, 1.0, 3.0])
@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_blank_clips_are_finite_and_deterministic(kind: str, name: str, value: float) -> None:
    model = KINDS[kind].pruned(name)
    blank = torch.full_like(KINDS[kind].clips(2), value)
    with torch.no_grad():
        feature, kept = model(blank, return_kept=True)
        again, kept_again = model(blank, return_kept=True)
    assert torch.isfinite(feature).all() and torch.equal(feature, again)
    assert all(torch.equal(a, b) and torch.equal(a[0], a[1]) for a, b in zip(kept, kept_again))
