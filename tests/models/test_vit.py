"""STAVisionTransformer: the host when nothing is dropped, else the slow reference; its settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.errors import ScheduleError
from sta.models import STAVisionTransformer
from sta.pruning import PruningSchedule, RandomPruner, STAPruner, Variant, trace
from tests.models import reference_vit
from tests.models.reference_vit import Stage
from tests.models.small_vit import PRUNERS, SMALL, clips, host_vit, small_vit, videomae_weights

HOST_CONFIGS = {
    'plain': {},
    'layer scale': {'init_values': 0.1},
    'learned positions': {'use_learnable_pos_emb': True},
    'first token': {'use_mean_pooling': False},
    'feature map': {'return_feat_map': True},
    'no qkv bias': {'qkv_bias': False},
    'scaled': {'qk_scale': 0.7},
    'narrow': {'mlp_ratio': 2.0, 'embed_dims': 16, 'num_heads': 1, 'depth': 1},
    'wide norm': {'norm_cfg': {'type': 'LN', 'eps': 1e-2}},
    'one frame per tubelet': {'tubelet_size': 1, 'num_frames': 3},
    'grey': {'in_channels': 1},
    'long': {'num_frames': 32, 'img_size': 16},
}


@pytest.mark.parametrize('name', HOST_CONFIGS)
def test_nothing_dropped_is_the_host_model(name) -> None:
    config = {**SMALL, **HOST_CONFIGS[name]}
    host = host_vit(**config)
    ours = STAVisionTransformer(**config).eval()
    assert list(ours.state_dict()) == list(host.state_dict())
    ours.load_state_dict(host.state_dict(), strict=True)
    host.load_state_dict(ours.state_dict(), strict=True)
    channels, size = config.get('in_channels', 3), config['img_size']
    x = clips(2, frames=config['num_frames'], size=size)[:, :channels]
    with torch.no_grad():
        expected = host(x)
        for schedule in (None, 0):
            ours.set_schedule(schedule)
            torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=0)


def test_clips_larger_than_the_position_table() -> None:
    """The table is resized as the host does; 40 x 40 pixels give 5 x 5 places."""
    host, ours = host_vit(), small_vit()
    ours.load_state_dict(host.state_dict())
    x = clips(1, size=40)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), host(x), atol=1e-5, rtol=0)
        ours.set_schedule(5)
        places = trace(ours(x, return_kept=True)[1], (8, 5, 5))
    assert places.shape == (1, 200 - 14 * 5, 3)
    assert places.amax((0, 1)).tolist() == [7, 4, 4]


def test_training_keeps_the_gradients_of_the_host() -> None:
    host, ours = host_vit(), small_vit()
    ours.load_state_dict(host.state_dict())
    for model in (host, ours):
        model.train()(clips(2)).square().sum().backward()
    expected = dict(host.named_parameters())
    for name, value in ours.named_parameters():
        torch.testing.assert_close(value.grad, expected[name].grad, atol=1e-4, rtol=1e-4)


def test_the_registry_builds_it() -> None:
    from mmaction.registry import MODELS

    model = MODELS.build({'type': 'STAVisionTransformer', **SMALL, 'schedule': 4})
    assert isinstance(model, STAVisionTransformer)


def compare(model, stages: list[Stage], *, with_pos_embed: bool = False, number: int = 2) -> None:
    """Features within 1e-5 and kept indices exactly, clip by clip."""
    x = clips(number)
    with torch.no_grad():
        feature, kept = model(x, return_kept=True)
    weights = videomae_weights(model, with_pos_embed=with_pos_embed)
    for clip in range(number):
        expected = reference_vit.forward(x[clip].numpy(), weights, num_heads=3, stages=stages)
        for found, wanted in zip(kept, expected.kept, strict=True):
            assert found[clip].tolist() == wanted.tolist()
        np.testing.assert_allclose(feature[clip], expected.feature, atol=1e-5, rtol=1e-5)


def default_stages(num_drop: int, **rules: str) -> list[Stage]:
    return reference_vit.default_stages(num_drop, depth=6, num_frames_tokens=8, **rules)


@pytest.mark.parametrize('num_drop', [1, 5, 8])
def test_the_paper_schedule_equals_the_reference(num_drop) -> None:
    compare(small_vit(schedule=num_drop), default_stages(num_drop))


@pytest.mark.parametrize(
    'rules',
    [
        {'similarity': 'query'},
        {'similarity': 'value'},
        {'similarity': 'ffn'},
        {'score': 'temporal'},
        {'score': 'semantic'},
        {'first_frame': 'tome_rounds'},
        {'affinity': 'dot'},
        {'affinity': 'dot', 'similarity': 'query', 'previous': 'kept'},
    ],
    ids=str,
)
def test_ablations_equal_the_reference(rules) -> None:
    model = small_vit(schedule=5, pruner={'type': 'STAPruner', **rules})
    compare(model, default_stages(5, **rules))


@pytest.mark.parametrize('rules', [{}, {'similarity': 'ffn'}], ids=str)
def test_layer_scale_equals_the_reference(rules) -> None:
    model = small_vit(schedule=5, pruner={'type': 'STAPruner', **rules}, init_values=0.1)
    compare(model, default_stages(5, **rules))


def test_learned_positions_equal_the_reference() -> None:
    model = small_vit(schedule=5, use_learnable_pos_emb=True)
    compare(model, default_stages(5), with_pos_embed=True)


def test_no_bias_equals_the_reference() -> None:
    compare(small_vit(schedule=5, qkv_bias=False), default_stages(5))


@pytest.mark.parametrize(
    'stages',
    [
        [Stage(0, 8, 3, True), Stage(2, 4, 3, False), Stage(4, 2, 3, True)],
        [Stage(0, 8, 6), Stage(1, 8, 3), Stage(5, 8, 1)],
        [Stage(1, 2, 60), Stage(3, 1, 7)],
        [Stage(0, 8, 1), Stage(1, 4, 2), Stage(2, 2, 3), Stage(3, 1, 40, True)],
        [Stage(5, 8, 15)],
    ],
    ids=str,
)
def test_any_stages_equal_the_reference(stages) -> None:
    schedule = [
        {
            'after_block': stage.after_block,
            'num_chunks': stage.num_chunks,
            'num_drop': stage.num_drop,
            'backward': stage.backward,
        }
        for stage in stages
    ]
    compare(small_vit(schedule=schedule), stages)


def test_an_increasing_schedule_equals_the_reference() -> None:
    stages = [Stage(0, 8, 4), Stage(2, 4, 16, True), Stage(4, 2, 10)]
    compare(small_vit(schedule=[4, 16, 10]), stages)


@pytest.mark.parametrize('num_drop', [3, 8])
def test_merging_equals_the_reference(num_drop) -> None:
    """Sizes are handed from stage to stage and weigh the final mean."""
    model = small_vit(schedule=num_drop, pruner={'type': 'ToMeMergePruner'})
    stages = [
        Stage(stage.after_block, stage.num_chunks, num_drop, merge=True)
        for stage in default_stages(num_drop)
    ]
    compare(model, stages)


def test_merging_after_the_last_block_changes_nothing() -> None:
    """The mean of size-weighted means is the plain mean."""
    model, x = small_vit(), clips(2)
    last = [{'after_block': 5, 'num_chunks': 1, 'num_drop': 120}]
    with torch.no_grad():
        expected = model(x)
        with model.using(Variant('merge', {'type': 'ToMeMergePruner'}, last)):
            found, kept = model(x, return_kept=True)
    assert kept[0].shape == (2, 8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_tokens_after_each_stage() -> None:
    model = small_vit(schedule=5)
    with torch.no_grad():
        kept = model(clips(1), return_kept=True)[1]
    assert [k.shape[1] for k in kept] == [128 - 40, 128 - 60, 128 - 70]


def test_a_stage_of_nothing_is_as_if_it_were_not_there() -> None:
    """Directions stay tied to the number of the stage: the second one runs backward."""
    model, x = small_vit(schedule=[0, 6, 0]), clips(2)
    alone = [{'after_block': 2, 'num_chunks': 4, 'num_drop': 6, 'backward': True}]
    with torch.no_grad():
        feature, kept = model(x, return_kept=True)
        model.set_schedule(alone)
        found, kept_alone = model(x, return_kept=True)
    assert torch.equal(feature, found)
    assert kept[0].tolist() == [list(range(128))] * 2
    assert torch.equal(kept[1], kept_alone[0])
    assert kept[2].tolist() == [list(range(128 - 24))] * 2


TORCH_VERSION = tuple(int(part) for part in torch.__version__.split('.')[:2])


@pytest.mark.parametrize('name', ['random', 'tube', 'random first', 'grid'])
def test_draws_follow_the_pixels_of_the_clip_and_the_seed(name) -> None:
    model, x = small_vit(schedule=4, pruner=PRUNERS[name]), clips(2)
    x[1] = x[0]
    changed = x.clone()
    changed[1, 0, 7, 3, 5] += 0.5

    def first_stage(clip, frame: int = 0) -> list[list[int]]:
        with torch.no_grad():
            kept = model(clip, return_kept=True)[1][0]
        return kept.reshape(2, 8, 12)[:, frame].tolist()

    assert first_stage(x)[0] == first_stage(x)[1]
    assert first_stage(changed)[0] != first_stage(changed)[1]
    before = first_stage(x)
    model.set_pruner({**PRUNERS[name], 'seed': 99})
    assert first_stage(x) != before


@pytest.mark.parametrize('name', ['random', 'tube', 'random first', 'grid'])
def test_stages_draw_apart(name) -> None:
    """The same stage as number two draws other tokens than as number one."""
    model, x = small_vit(pruner=PRUNERS[name]), clips(2)
    stage = {'after_block': 1, 'num_chunks': 8, 'num_drop': 4}
    with torch.no_grad():
        model.set_schedule([stage])
        first = model(x, return_kept=True)[1][0]
        model.set_schedule([{**stage, 'after_block': 0, 'num_drop': 0}, stage])
        second = model(x, return_kept=True)[1][1]
    assert not torch.equal(first, second)


def test_tubes_reach_through_all_stages() -> None:
    """r = 4 takes 4, 2 and 1 places of every frame: 9 are left, the same ones in all 8."""
    model = small_vit(schedule=4, pruner={'type': 'TubeRandomPruner'})
    with torch.no_grad():
        kept = model(clips(2), return_kept=True)[1]
    for clip in trace(kept, (8, 4, 4)).tolist():
        places = [sorted((y, x) for t, y, x in clip if t == frame) for frame in range(8)]
        assert places == [places[0]] * 8 and len(places[0]) == 9


def test_dropped_tokens_get_no_gradient_from_after_the_drop() -> None:
    """Dropping right after the last block: only pooled tokens get a gradient."""
    last = [{'after_block': 5, 'num_chunks': 8, 'num_drop': 6}]
    model = small_vit(schedule=last)
    seen = []
    model.blocks[5].register_full_backward_hook(lambda _, __, grads: seen.append(grads[0]))
    feature, kept = model(clips(1), return_kept=True)
    feature.sum().backward()
    touched = seen[0][0].abs().sum(-1).gt(0).nonzero().flatten().tolist()
    assert touched == sorted(kept[0][0].tolist())


@pytest.mark.parametrize('name', PRUNERS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(name, dtype) -> None:
    """With a stage after the last block only, rounding cannot change much but a few choices."""
    if dtype == torch.float16 and TORCH_VERSION < (2, 4):
        pytest.skip('float16 products on the CPU came with torch 2.4')
    last = [{'after_block': 5, 'num_chunks': 8, 'num_drop': 4}]
    model, x = small_vit(schedule=last, pruner=PRUNERS[name]), clips(2)
    expected = model(x).detach()
    with torch.no_grad(), torch.autocast('cpu', dtype):
        found, kept = model(x, return_kept=True)
    assert kept[0].dtype == torch.int64
    assert torch.isfinite(found).all()
    error = (found.float() - expected).norm() / expected.norm()
    assert error < 0.15
    model.to(dtype)
    with torch.no_grad():
        cast = model(x.to(dtype))
    assert cast.dtype == dtype and torch.isfinite(cast).all()


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


def test_arguments_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        STAVisionTransformer(32, 8)
    with pytest.raises(TypeError, match='pretrained'):  # VideoSwin's
        STAVisionTransformer(**SMALL, pretrained='vit.pth')


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
