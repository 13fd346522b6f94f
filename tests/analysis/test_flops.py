"""Cost against a closed form and the figures measured on the released models."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from sta.analysis import count_costs
from sta.models import STAVisionTransformer
from sta.pruning import Variant
from tests.analysis.closed_form import MEASURED, SIZES, Stage, ViT
from tests.analysis.counted import Model, count
from tests.models.small_vit import PRUNERS, SMALL, small_vit

TABLE = [(size, num_drop) for size in MEASURED for num_drop in MEASURED[size]]


@lru_cache
def full_size(size: str) -> Model:
    """Without weights: on the meta device nothing is allocated."""
    vit = SIZES[size]
    with torch.device('meta'):
        backbone = STAVisionTransformer(
            embed_dims=vit.width, depth=vit.depth, num_heads=vit.heads, drop_path_rate=0.1
        )
        return Model(backbone, vit.classes)


@pytest.mark.parametrize('size, num_drop', TABLE)
def test_full_size_models(size, num_drop) -> None:
    vit = SIZES[size]
    stages = vit.stages(num_drop) if num_drop else []
    similarities, accumulations = vit.sta(stages)
    found, dense = count(full_size(size), num_drop), vit.total(stages)
    # P @ A is a matrix times a vector, 2e-5 of the whole, and may run element by element
    assert dense + similarities <= found <= dense + similarities + accumulations
    assert found / 1e9 == pytest.approx(MEASURED[size][num_drop], rel=1e-3)


@pytest.mark.parametrize('size, num_drop', TABLE)
def test_the_closed_form_is_right(size, num_drop) -> None:
    """Against the measured figures, to their last digit but one."""
    vit = SIZES[size]
    stages = vit.stages(num_drop) if num_drop else []
    total = vit.total(stages) + sum(vit.sta(stages))
    assert total / 1e9 == pytest.approx(MEASURED[size][num_drop], abs=0.011)


@pytest.mark.parametrize('num_drop', [16, 64, 96])
@pytest.mark.parametrize('pruner', ['RandomPruner', 'TubeRandomPruner'])
def test_random_dropping_costs_nothing_itself(pruner, num_drop) -> None:
    vit = SIZES['s']
    assert count(full_size('s'), num_drop, {'type': pruner}) == vit.total(vit.stages(num_drop))


@pytest.mark.parametrize('num_drop', [16, 64, 96, 111])
def test_merging_costs_its_similarities(num_drop) -> None:
    vit = SIZES['s']
    stages = vit.stages(num_drop)
    found = count(full_size('s'), num_drop, {'type': 'ToMeMergePruner'})
    assert found == vit.total(stages) + vit.merging(stages)


def test_merging_more_than_half_goes_in_rounds() -> None:
    stages = [Stage(0, 8, 13), Stage(3, 4, 5)]
    found = count(
        Model(small_vit(), 7), [stage._asdict() for stage in stages], {'type': 'ToMeMergePruner'}
    )
    # 104 of 128 tokens go as 64, 32 and 8; 20 of the 24 left as 12, 6 and 2; keys are 8 wide
    similarities = 8 * (64**2 + 32**2 + 16**2 + 12**2 + 6**2 + 3**2)
    assert found == SMALL_VIT.total(stages) + similarities


def test_a_random_first_frame_saves_the_comparison_of_its_halves() -> None:
    schedule = [{'after_block': 2, 'num_chunks': 8, 'num_drop': 30}]
    default = count(full_size('s'), schedule)
    drawn = count(full_size('s'), schedule, {'type': 'STAPruner', 'first_frame': 'random'})
    assert default - drawn == 98 * 98 * 64


SMALL_VIT = ViT(
    width=24,
    depth=6,
    heads=3,
    classes=7,
    frames_tokens=8,
    tokens_per_frame=16,
    patch_volume=3 * 2 * 8 * 8,
)
SCHEDULES = {
    'one stage': [Stage(0, 8, 3)],
    'last block': [Stage(5, 2, 60)],
    'every block': [Stage(i, 8, 1) for i in range(6)],
    'uneven': [Stage(1, 4, 7), Stage(3, 4, 9)],
    'one chunk': [Stage(2, 1, 100)],
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_any_number_and_place_of_stages(name) -> None:
    stages = SCHEDULES[name]
    found = count(Model(small_vit(), 7), [stage._asdict() for stage in stages])
    dense, (similarities, accumulations) = SMALL_VIT.total(stages), SMALL_VIT.sta(stages)
    assert dense + similarities <= found <= dense + similarities + accumulations


@pytest.mark.parametrize(
    'change, vit_change',
    [
        ({'init_values': 0.1}, {}),
        ({'use_learnable_pos_emb': True}, {}),
        ({'qkv_bias': False}, {}),
        ({'mlp_ratio': 2.5}, {'mlp_ratio': 2.5}),
        ({'img_size': 40}, {'tokens_per_frame': 25}),
        ({'num_frames': 6}, {'frames_tokens': 3}),
        ({'patch_size': 4}, {'tokens_per_frame': 64, 'patch_volume': 3 * 2 * 4 * 4}),
        (
            {'tubelet_size': 1, 'num_frames': 5},
            {'frames_tokens': 5, 'patch_volume': 3 * 1 * 8 * 8},
        ),
        ({'embed_dims': 20, 'num_heads': 1}, {'width': 20, 'heads': 1}),
    ],
)
def test_other_architectures(change, vit_change) -> None:
    vit = ViT(**{**vars(SMALL_VIT), **vit_change})
    model = Model(small_vit(**change), 7)
    stages = [Stage(1, vit.frames_tokens, 5)]
    dense, (similarities, accumulations) = vit.total(stages), vit.sta(stages)
    found = count(model, [stage._asdict() for stage in stages])
    assert dense + similarities <= found <= dense + similarities + accumulations
    assert count(model, None) == vit.total([])


@pytest.mark.parametrize('name', PRUNERS)
def test_counting_without_weights_equals_counting_with(name) -> None:
    with torch.device('meta'):
        empty = Model(STAVisionTransformer(**SMALL), 7)
    assert count(empty, 4, PRUNERS[name]) == count(Model(small_vit(), 7), 4, PRUNERS[name])


def test_clips_of_another_size_than_the_model_was_built_for() -> None:
    """Costs are those of the clip that is looked at: 8 frames of 5 x 6 tokens."""
    vit = replace(SMALL_VIT, tokens_per_frame=30)
    schedule = [Stage(1, 8, 5)._asdict()]
    (cost,) = count_costs(Model(small_vit(), 7), [Variant('v', None, schedule)], (3, 16, 40, 48))
    stages = [Stage(1, 8, 5)]
    dense, (similarities, accumulations) = vit.total(stages), vit.sta(stages)
    found = round(cost.gflops_per_view * 1e9)
    assert dense + similarities <= found <= dense + similarities + accumulations
    assert (cost.num_tokens, cost.tokens_after_stages) == (240, (200,))


def test_inference_mode_changes_no_count() -> None:
    """Operations that are made of others reach a counter whole there."""
    model = Model(small_vit(schedule=3), 7)
    variant = Variant('sta', PRUNERS['sta'], 3)
    outside = count_costs(model, [variant], (3, 16, 32, 32))
    with torch.inference_mode():
        assert count_costs(model, [variant], (3, 16, 32, 32)) == outside
    assert outside[0].gflops_per_view > 0.005
