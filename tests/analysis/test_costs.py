"""Costs by hand, by a closed form and as measured; budgets met as nearly as can be."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache
from math import inf, prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.analysis import count_costs, count_macs, gflops_of_tokens, solve_budgets, solve_thresholds
from sta.errors import BudgetError, ScheduleError
from sta.models import STASwinTransformer3D, STAVisionTransformer
from sta.models.head import LinearHead
from sta.pruning import Variant, grid_ladder
from tests.analysis.closed_form import MEASURED, SIZES, Stage, ViT
from tests.analysis.counted import Model, count
from tests.models.small_swin import SMALL as SMALL_SWIN
from tests.models.small_vit import PRUNERS, SMALL, small_vit


class Only(nn.Module):
    """A module that is one function of its clip."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, clip: Tensor) -> Tensor:
        return self.function(clip)


def cross_attention(clip: Tensor) -> Tensor:
    """5 queries on 7 keys of width 4, values of width 6, in 2 x 3 heads."""
    query, key = clip.new_empty(2, 3, 5, 4), clip.new_empty(2, 3, 7, 4)
    return F.scaled_dot_product_attention(query, key, clip.new_empty(2, 3, 7, 6))


@pytest.mark.parametrize(
    'module, macs',
    [
        (nn.Linear(8, 5), 2 * 3 * 4 * 6 * 8 * 5),
        (nn.Conv3d(3, 4, (2, 3, 4), stride=(2, 3, 4)), 2 * 4 * 2 * 2 * 2 * (3 * 2 * 3 * 4)),
        (nn.LayerNorm(8), 5 * 2 * 3 * 4 * 6 * 8),
        (Only(lambda clip: clip @ clip.transpose(-1, -2)), 2 * 3 * 4 * 6 * 8 * 6),
        (Only(cross_attention), 2 * 3 * 5 * 7 * (4 + 6)),
        (Only(lambda clip: (clip * 2 + 1).softmax(-1).sort(-1).values.sum()), 0),
    ],
    ids=['linear', 'convolution', 'norm', 'product', 'attention', 'element-wise'],
)
def test_one_operation(module, macs) -> None:
    shape = (2, 3, 4, 6, 8)
    assert prod(shape) == 1152
    assert count_macs(module, shape) == macs


def test_costs_of_several_variants() -> None:
    model = Model(small_vit(init_values=0.1), 7)
    variants = [
        Variant('unpruned', None, None),
        Variant('sta', {'type': 'STAPruner'}, 4),
        Variant('random', {'type': 'RandomPruner'}, [2, 0, 6]),
    ]
    costs = count_costs(model, variants, (3, 16, 32, 32))
    assert [cost.tokens_after_stages for cost in costs] == [(), (96, 80, 72), (112, 112, 100)]
    assert [cost.num_tokens for cost in costs] == [128] * 3
    assert [cost.tokens_kept for cost in costs] == [128, 72, 100]
    linear, block = 24 * 24, 4 * 24 + 2 * 24 + 24  # norms, q and v biases, projection bias
    expected = (
        384 * 24 + 24  # patch embedding
        + 6 * (12 * linear + block + 96 + 24 + 2 * 24)  # blocks with LayerScale
        + 2 * 24 + 24 * 7 + 7  # last norm and head
    )  # fmt: skip
    assert {cost.num_parameters for cost in costs} == {expected}
    assert costs[1].gflops_per_view < costs[2].gflops_per_view < costs[0].gflops_per_view


@pytest.mark.parametrize('training', [True, False])
def test_the_model_is_left_as_it_was(training) -> None:
    model = Model(small_vit(schedule=3), 7).train(training)
    model.backbone.blocks[2].eval()
    modes = [module.training for module in model.modules()]
    before, schedule = copy.deepcopy(model.state_dict()), model.backbone.schedule
    pruner = model.backbone.pruner
    count(model, 5, {'type': 'ToMeMergePruner'})
    count_macs(model.backbone, (2, 3, 16, 32, 32))
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == 'cpu' and torch.equal(tensor, before[name]), name
    assert [module.training for module in model.modules()] == modes
    assert model.backbone.schedule == schedule and model.backbone.pruner is pruner
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_schedule_that_does_not_fit_is_refused_and_the_old_one_stays() -> None:
    model = Model(small_vit(schedule=3), 7)
    before = model.backbone.schedule
    with pytest.raises(ScheduleError, match='stage 1'):
        count(model, 16)
    assert model.backbone.schedule == before


def test_batches_cost_in_proportion() -> None:
    model = small_vit(schedule=4)
    assert count_macs(model, (5, 3, 16, 32, 32)) == 5 * count_macs(model, (1, 3, 16, 32, 32))


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


CLIP = (3, 16, 32, 32)
SHARES = (0.95, 0.8, 0.62, 0.5)


def vit(**changed) -> Model:
    with torch.device('meta'):
        return Model(STAVisionTransformer(**{**SMALL, **changed}), 7)


def swin() -> nn.Module:
    model = nn.Module()
    with torch.device('meta'):
        model.backbone = STASwinTransformer3D(**SMALL_SWIN)
        width = model.backbone.embed_dims * 2 ** (model.backbone.num_layers - 1)
        model.cls_head = LinearHead(num_classes=7, in_channels=width)
    return model


def cost(model: nn.Module, pruner, schedule, clip) -> float:
    (found,) = count_costs(model, [Variant('v', pruner, schedule)], clip)
    return found.gflops_per_view


@pytest.mark.parametrize('name', PRUNERS)
def test_the_next_dearer_schedule_would_exceed_the_budget(name) -> None:
    """Every step is counted, none is skipped, and costs need not fall for this to hold."""
    model, pruner = vit(), PRUNERS[name]
    steps = [1, 4, 9] if name == 'grid' else range(1, 10)
    costs = {r: cost(model, pruner, r, CLIP) for r in steps}
    whole = cost(model, None, 0, CLIP)
    possible = [share for share in SHARES if min(costs.values()) <= share * whole]
    assert len(possible) >= 2
    for share, solution in zip(possible, solve_budgets(model, pruner, possible, CLIP)):
        best = max((c, r) for r, c in costs.items() if c <= share * whole)
        assert (solution.gflops_per_view, solution.schedule) == best
        assert solution.budget_gflops == pytest.approx(share * whole)


def test_a_budget_that_a_schedule_meets_to_the_last_bit() -> None:
    model, pruner = vit(), PRUNERS['random']
    share = cost(model, pruner, 5, CLIP) / cost(model, None, 0, CLIP)
    at, below = solve_budgets(model, pruner, [share * (1 + 1e-12), share * (1 - 1e-9)], CLIP)
    assert (at.schedule, below.schedule) == (5, 6)


@pytest.mark.parametrize('name', ['sta', pytest.param('random', marks=pytest.mark.slow)])
def test_grids_that_are_not_the_papers(name) -> None:
    model = swin()
    clip = model.backbone.clip_shape
    ladder = model.backbone.drop_ladder(clip)
    whole = cost(model, None, 0, clip)
    shares = [0.95, 0.9, 0.85]
    for share, found in zip(shares, solve_budgets(model, PRUNERS[name], shares, clip)):
        index = ladder.index(found.schedule)
        around = ladder[max(index - 1, 0) : index + 1]
        *dearer, own = [cost(model, PRUNERS[name], drops, clip) for drops in around]
        assert found.gflops_per_view == own <= share * whole < min([*dearer, inf])


def test_the_ladder_of_a_vit_is_every_r_that_fits() -> None:
    """4 x 4 places, chunks of 1, 2 and 4 frames: 4 (16 - r) - 2 r - r > 0 at the last stage."""
    model = vit().backbone
    assert model.drop_ladder(CLIP) == list(range(1, 10))
    with pytest.raises(ScheduleError):
        model.set_schedule(10)
    assert model.drop_ladder((3, 16, 40, 32)) == list(range(1, 12))


def test_the_ladder_of_the_papers_videoswin_is_its_r1() -> None:
    assert grid_ladder((784, 196, 49)) == list(range(8, 385, 8))


def test_other_grids_keep_the_papers_proportion() -> None:
    """Steps of 1/8 of 8 tokens and 2/3 of 1/4, 2/4, 3/4 of 4 tokens: 1, 1.5 times the share."""
    assert grid_ladder((8, 4)) == [
        [1, 0],  # 1/8
        [1, 1],  # 1/6: a quarter of the second
        [2, 1],
        [2, 2],  # 1/3
        [3, 2],
        [4, 3],  # 1/2 of the first, 3/4 of the second
        [5, 3],  # 5/8: 15/16 of the second
    ]


@pytest.mark.parametrize(
    'share, words',
    [
        (0.0, 'between 0 and 1, got 0'),
        (1.0, 'between 0 and 1, got 1'),
        (-0.5, 'got -0.5'),
        (60.0, 'got 60'),
        (float('nan'), 'got nan'),
        (0.01, 'budget 0.01 is .* still costs .*: at least 0.39'),
    ],
)
def test_budgets_that_cannot_be_met(share, words) -> None:
    with pytest.raises(BudgetError, match=words) as error:
        solve_budgets(vit(), PRUNERS['sta'], [0.8, share], CLIP)
    assert '\n' not in str(error.value)


def test_what_is_named_as_possible_is_possible() -> None:
    model = vit()
    with pytest.raises(BudgetError) as error:
        solve_budgets(model, PRUNERS['sta'], [0.01], CLIP)
    share = float(str(error.value).rpartition(' ')[2])
    assert solve_budgets(model, PRUNERS['sta'], [share], CLIP)[0].schedule == 9
    with pytest.raises(BudgetError):
        solve_budgets(model, PRUNERS['sta'], [share - 0.0101], CLIP)


def test_a_pruner_that_the_model_refuses() -> None:
    model = swin()
    with pytest.raises(ScheduleError, match='ToMeMergePruner merges'):
        solve_budgets(model, PRUNERS['merge'], [0.9], model.backbone.clip_shape)


def test_the_model_keeps_its_variant() -> None:
    model = vit(schedule=3)
    solve_budgets(model, PRUNERS['random'], [0.8], CLIP)
    assert model.backbone.schedule.tokens_after_stages(128)[0] == 128 - 24


RLT = {'type': 'RunLengthPruner', 'threshold': 0.1}


@pytest.mark.parametrize('kept', [1, 16, 37, 100, 128])
def test_the_cost_of_so_many_tokens_by_hand(kept) -> None:
    """Per block qkv, projection, 4x feed-forward, 2 norms, attention; embedding and head once."""
    width, depth, whole = 24, 6, 128
    block = kept * width * width * (3 + 1 + 4 + 4) + 2 * 5 * kept * width + 2 * kept * kept * width
    embedding, head, last_norm = whole * width * 3 * 2 * 8 * 8, width * 7, 5 * width
    expected = depth * block + embedding + head + last_norm
    found = float(gflops_of_tokens(vit(), CLIP)(np.array([kept]))[0])
    assert found * 1e9 == pytest.approx(expected, rel=1e-9)


def test_with_all_tokens_it_is_the_cost_of_no_pruning() -> None:
    model = vit()
    (whole,) = count_costs(model, [Variant('unpruned', None, None)], CLIP)
    assert gflops_of_tokens(model, CLIP)(128) == pytest.approx(whole.gflops_per_view, rel=1e-12)


def test_without_clips_the_cost_is_not_guessed() -> None:
    with pytest.raises(ScheduleError, match='what rlt-0.1 costs depends on the clips'):
        count_costs(vit(), [Variant('rlt-0.1', RLT, None)], CLIP)


def square(tokens):
    return np.asarray(tokens, float) ** 2


CHANGES = np.array([[0.1, 0.5, 0.3, 0.2], [0.9, 0.9, 0.4, 0.8]])


@pytest.mark.parametrize('share', [0.95, 0.8, 0.55, 0.4, 0.2, 0.12])
def test_the_smallest_threshold_that_meets_the_budget(share) -> None:
    """Two clips of 2 + 4 tokens that cost their square; every threshold on a grid is tried."""

    def mean_cost(threshold):
        return np.mean([(2 + sum(c >= threshold for c in clip)) ** 2 for clip in CHANGES.tolist()])

    (found,) = solve_thresholds(square, CHANGES, 2, [share])
    grid = np.round(np.arange(0, 1.2, 0.001), 3)
    smallest = next(t for t in grid if mean_cost(t) <= share * 36)
    # The grid lies between the values: what counts is what goes.
    assert [c < found.value for c in CHANGES.flat] == [c < smallest for c in CHANGES.flat]
    assert found.gflops_per_view == mean_cost(found.value) <= share * 36 == found.budget_gflops
    assert f'{found.value:g}' == repr(found.value), 'it can be typed'


@pytest.mark.parametrize('share', [0.0, 1.0, -1.0, float('nan')])
def test_shares_that_are_none(share) -> None:
    with pytest.raises(BudgetError, match='between 0 and 1'):
        solve_thresholds(square, CHANGES, 2, [share])


def test_the_first_frame_always_stays() -> None:
    with pytest.raises(
        BudgetError, match='budget 0.1 is 3.6 of 36 GFLOPs, .* always stays, costs 4'
    ):
        solve_thresholds(square, CHANGES, 2, [0.1])
