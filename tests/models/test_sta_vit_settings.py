"""Schedules, pruners and variants of STAVisionTransformer: changed, restored and refused."""

from __future__ import annotations

import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.errors import ScheduleError
from sta.models import STAVisionTransformer
from sta.pruning import PruningSchedule, RandomPruner, STAPruner, Variant
from tests.models.small_vit import PRUNERS, SMALL, clips, small_vit


def test_one_set_of_weights_serves_every_schedule() -> None:
    plain = small_vit()
    for changed in (
        {'schedule': 4},
        {'schedule': [1, 2, 3]},
        {'schedule': 4, 'pruner': PRUNERS['merge']},
    ):
        other = STAVisionTransformer(**SMALL, **changed).eval()
        other.load_state_dict(plain.state_dict(), strict=True)
        plain.set_schedule(changed['schedule'])
        plain.set_pruner(changed.get('pruner', PRUNERS['sta']))
        with torch.no_grad():
            assert torch.equal(plain(clips(1)), other(clips(1)))


def output(model) -> torch.Tensor:
    with torch.no_grad():
        return model(clips(1))


def test_settings_can_be_changed_and_changed_back() -> None:
    model = small_vit()
    outputs = {None: output(model)}
    for schedule in (3, [3, 4, 5]):
        model.set_schedule(schedule)
        outputs[str(schedule)] = output(model)
    model.set_pruner(PRUNERS['random'])
    outputs['random'] = output(model)
    model.set_variant(Variant('merge', PRUNERS['merge'], 3))
    outputs['merge'] = output(model)
    found = list(outputs.values())
    assert all(not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])
    model.set_variant(Variant('sta', PRUNERS['sta'], 3))
    assert torch.equal(output(model), outputs['3'])
    model.set_schedule(None)
    assert torch.equal(output(model), outputs[None])


@pytest.mark.parametrize('made', [RandomPruner(seed=5), STAPruner(score='temporal')])
def test_a_pruner_object_is_as_good_as_its_settings(made) -> None:
    settings = {'RandomPruner': {'seed': 5}, 'STAPruner': {'score': 'temporal'}}
    kind = type(made).__name__
    built = small_vit(schedule=4, pruner={'type': kind, **settings[kind]})
    given = small_vit(schedule=4)
    given.set_pruner(made)
    assert torch.equal(output(built), output(given))


def test_a_schedule_object_is_as_good_as_its_number() -> None:
    made = PruningSchedule.from_drop(4, depth=6, num_frames_tokens=8)
    assert torch.equal(output(small_vit(schedule=made)), output(small_vit(schedule=4)))


def test_using_restores_what_was_there() -> None:
    model = small_vit(schedule=3, pruner=PRUNERS['random'])
    before = output(model)
    with model.using(Variant('sta', PRUNERS['sta'], 5)):
        inside = output(model)
        with model.using(Variant('none', None, None)):
            assert torch.equal(output(model), output(small_vit()))
        assert torch.equal(output(model), inside)
    assert torch.equal(inside, output(small_vit(schedule=5)))
    assert torch.equal(output(model), before)


def test_using_restores_after_an_error() -> None:
    model = small_vit(schedule=3)
    before = output(model)
    with pytest.raises(KeyError), model.using(Variant('merge', PRUNERS['merge'], 5)):
        raise KeyError
    with pytest.raises(ScheduleError), model.using(Variant('bad', PRUNERS['random'], 16)):
        pass
    assert torch.equal(output(model), before)


def test_a_refused_setting_leaves_the_old_one() -> None:
    model = small_vit(schedule=3)
    before = output(model)
    with pytest.raises(ScheduleError, match=r'(?s)stage.*16'):
        model.set_schedule(16)
    with pytest.raises((ValueError, KeyError), match='NoPruner'):
        model.set_pruner({'type': 'NoPruner'})
    with pytest.raises((TypeError, ValueError), match='first_frames'):
        model.set_pruner({'type': 'STAPruner', 'first_frames': 'tome'})
    with pytest.raises(ValueError, match='(?s)3.*1.*4'):
        model.set_pruner(PRUNERS['grid'])
    with pytest.raises(ValueError):
        model.set_variant(Variant('bad', PRUNERS['grid'], 5))
    assert torch.equal(output(model), before)


@pytest.mark.parametrize(
    'changed',
    [
        {'schedules': 4},
        {'img_sizes': 32},
        {'pretrained': 'vit.pth'},
        {'prunner': None},
        {'num_classes': 4},
    ],
    ids=str,
)
def test_misspelt_arguments_are_refused(changed) -> None:
    with pytest.raises(TypeError, match=next(iter(changed))):
        STAVisionTransformer(**SMALL, **changed)


def test_arguments_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        STAVisionTransformer(32, 8)


@pytest.mark.parametrize(
    'schedule', [16, -1, 2.5, '4', [1] * 5, [{'after_block': 6, 'num_chunks': 8, 'num_drop': 1}]]
)
def test_ill_schedules_are_refused_when_built(schedule) -> None:
    with pytest.raises(ScheduleError):
        STAVisionTransformer(**SMALL, schedule=schedule)


@pytest.mark.parametrize(
    'changed', [{'num_heads': 5}, {'num_frames': 15}, {'img_size': 33}], ids=str
)
def test_architectures_that_do_not_fit_are_refused(changed) -> None:
    with pytest.raises(ValueError, match=str(next(iter(changed.values())))):
        STAVisionTransformer(**{**SMALL, **changed})


def test_a_clip_of_the_wrong_length_is_refused() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        small_vit(schedule=4)(clips(1, frames=8))


@pytest.mark.parametrize(
    'changed', [{'use_mean_pooling': False}, {'return_feat_map': True}], ids=str
)
def test_dropping_needs_a_pooled_output(changed) -> None:
    """A first token that may be gone, and a map with holes, are no features."""
    with pytest.raises(ScheduleError, match=next(iter(changed))):
        small_vit(schedule=4, **changed)
    model = small_vit(**changed)
    with pytest.raises(ScheduleError):
        model.set_schedule(4)
    model.set_schedule(0)


def test_a_schedule_too_large_for_a_smaller_clip_is_refused() -> None:
    """16 x 16 pixels have 2 x 2 places per frame, of which 5 cannot go."""
    model = small_vit(schedule=5)
    with pytest.raises(ScheduleError, match='(?s)stage.*4'):
        model(clips(1, size=16))
    assert model(clips(1, size=32)).shape == (1, 24)


def test_learned_positions_of_another_size_are_named() -> None:
    longer = small_vit(use_learnable_pos_emb=True, num_frames=32).state_dict()
    assert longer['pos_embed'].shape == (1, 16 * 16, 24)
    with pytest.raises((ValueError, RuntimeError), match='pos_embed'):
        load_checkpoint(small_vit(use_learnable_pos_emb=True), longer)
