"""Schedules, pruners and arguments of STASwinTransformer3D: changed, restored and refused."""

from __future__ import annotations

import pytest
import torch

from sta.errors import ScheduleError
from sta.models import STASwinTransformer3D
from sta.pruning import Variant
from tests.models.small_swin import DROPS, PRUNERS, SMALL, small_swin
from tests.models.small_vit import clips

CLIP = clips(1, frames=8, size=64)


def output(model) -> torch.Tensor:
    with torch.no_grad():
        return model(CLIP)


def test_settings_can_be_changed_and_changed_back() -> None:
    model = small_swin()
    outputs = {None: output(model)}
    for schedule in (DROPS, [20, 0, 0], 8):
        model.set_schedule(schedule)
        outputs[str(schedule)] = output(model)
    model.set_pruner(PRUNERS['random'])
    outputs['random'] = output(model)
    found = list(outputs.values())
    assert all(
        a.shape != b.shape or not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i]
    )
    model.set_variant(Variant('sta', PRUNERS['sta'], DROPS))
    assert torch.equal(output(model), outputs[str(DROPS)])
    model.set_schedule(None)
    assert torch.equal(output(model), outputs[None])


def test_using_restores_what_was_there() -> None:
    model = small_swin(schedule=DROPS)
    before = output(model)
    with model.using(Variant('random', PRUNERS['random'], [30, 6, 2])):
        assert output(model).shape != before.shape
    with pytest.raises(ScheduleError), model.using(Variant('bad', PRUNERS['sta'], [1, 2])):
        pass
    assert torch.equal(output(model), before)


def test_more_than_half_is_dropped_in_rounds_where_nothing_is_said() -> None:
    model = small_swin()
    assert model.pruner.first_frame == 'tome_rounds'
    model.set_pruner({'type': 'STAPruner', 'score': 'temporal'})
    assert model.pruner.first_frame == 'tome_rounds'
    model.set_pruner({'type': 'STAPruner', 'first_frame': 'tome'})
    assert model.pruner.first_frame == 'tome'


def test_merging_pruners_are_refused_in_one_line() -> None:
    model = small_swin(schedule=DROPS)
    before = output(model)
    with pytest.raises(ScheduleError, match='ToMeMergePruner merges.*grid.*STAPruner') as error:
        model.set_pruner({'type': 'ToMeMergePruner'})
    assert '\n' not in str(error.value)
    assert torch.equal(output(model), before)


def test_pruners_that_leave_frames_uneven_are_refused_in_one_line() -> None:
    words = 'ToMeDropPruner drops more from some frames.*as many tokens in every frame.*STAPruner'
    with pytest.raises(ScheduleError, match=words) as error:
        small_swin(schedule=DROPS).set_pruner({'type': 'ToMeDropPruner'})
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'schedule, words',
    [
        ([64, 0, 0], 'stage 1.*block 1.*64.*8 x 8 = 64.*63'),
        ([0, 0, 4], 'stage 3.*block 5.*2 x 2'),
        (384, 'stage 1.*384'),
    ],
    ids=str,
)
def test_a_schedule_too_large_for_the_clip_is_refused_when_the_clip_comes(schedule, words) -> None:
    model = small_swin(schedule=schedule)
    with pytest.raises(ScheduleError, match=words):
        output(model)


@pytest.mark.parametrize('schedule', [100, 392, [24, 6], [dict(after_block=0, num_drop=3)]])
def test_what_fits_no_clip_is_refused_when_it_is_built(schedule) -> None:
    with pytest.raises(ScheduleError):
        STASwinTransformer3D(**SMALL, schedule=schedule)


def test_dropping_needs_the_last_stage_alone() -> None:
    for changed in ({'out_indices': (2, 3)}, {'out_after_downsample': True}):
        with pytest.raises(ScheduleError, match='out_indices'):
            small_swin(**changed, schedule=DROPS)


@pytest.mark.parametrize(
    'changed, words',
    [
        ({'arch': 'huge'}, "'base'.*huge"),
        ({'arch': {'embed_dims': 12}}, 'depths'),
        ({'arch': {'embed_dims': 12, 'depths': [2, 2], 'num_heads': [2]}}, r'\[2, 2\].*\[2\]'),
        ({'arch': {'embed_dims': 12, 'depths': [2], 'num_heads': [5]}}, '12.*5 heads'),
        ({'window_size': (7, 7)}, r'window_size.*\(7, 7\)'),
        ({'patch_size': (2, 0, 4)}, 'patch_size'),
        ({'out_indices': (4,)}, r'out_indices.*3.*4'),
        ({'out_indices': ()}, 'out_indices'),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(changed, words) -> None:
    with pytest.raises(ValueError, match=words):
        STASwinTransformer3D(**{**SMALL, **changed})


@pytest.mark.parametrize('name', ['schedules', 'window', 'pretrain', 'num_classes'])
def test_misspelt_arguments_are_refused(name) -> None:
    with pytest.raises(TypeError, match=name):
        STASwinTransformer3D(**SMALL, **{name: 1})


def test_names_of_architectures() -> None:
    widths = {'tiny': 96, 'Small': 96, 'b': 128, 'large': 192}
    with torch.device('meta'):
        for name, width in widths.items():
            assert STASwinTransformer3D(name).embed_dims == width


def test_tokens_and_grids_of_a_clip() -> None:
    model = small_swin(schedule=DROPS)
    assert model.token_grid((3, 8, 64, 64)) == (4, 16, 16)
    assert model.token_grid((3, 7, 50, 61)) == (4, 13, 16)
    assert model.tokens_after_stages((3, 8, 64, 64)) == [4 * 40, 4 * 10, 4 * 3]


def test_frozen_stages_do_not_train() -> None:
    model = small_swin(frozen_stages=1).train()
    assert not model.patch_embed.training and not model.layers[0].training
    assert model.layers[1].training
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert trained and not any(name.startswith(('patch_embed', 'layers.0')) for name in trained)


def test_a_forward_pass_leaves_nothing_behind() -> None:
    model = small_swin(schedule=DROPS)
    names = {name: set(vars(module)) for name, module in model.named_modules()}
    numbers, first = torch.get_rng_state(), output(model)
    assert torch.equal(numbers, torch.get_rng_state())
    assert {name: set(vars(module)) for name, module in model.named_modules()} == names
    assert torch.equal(first, output(model))


def test_the_host_backbone_has_the_same_weights() -> None:
    model = small_swin()
    host = model.host()
    with torch.no_grad():
        assert torch.equal(host(CLIP), model(CLIP))
    assert not host.training and all(
        a.data_ptr() != b.data_ptr()
        for a, b in zip(host.parameters(), model.parameters(), strict=True)
    )
