"""STAVisionTransformer: the host model when nothing is dropped, else the slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.models import STAVisionTransformer
from sta.pruning import Variant, trace
from tests.models import reference_vit
from tests.models.reference_vit import Stage
from tests.models.small_vit import SMALL, clips, host_vit, small_vit, videomae_weights

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
