"""Budgets are met as nearly as can be: against a count of every step of the ladder."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch import nn

from sta.analysis import count_costs, solve_budgets
from sta.errors import BudgetError, ScheduleError
from sta.models import STASwinTransformer3D, STAVisionTransformer
from sta.models.head import LinearHead
from sta.pruning import Variant, grid_ladder
from tests.analysis.counted import Model
from tests.models.small_swin import SMALL as SMALL_SWIN
from tests.models.small_vit import PRUNERS, SMALL

VIT_CLIP = (3, 16, 32, 32)
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


def swin_clip(model: nn.Module) -> tuple[int, int, int, int]:
    backbone = model.backbone
    return (3, backbone.num_frames, backbone.img_size, backbone.img_size)


def cost(model: nn.Module, pruner, schedule, clip) -> float:
    (found,) = count_costs(model, [Variant('v', pruner, schedule)], clip)
    return found.gflops_per_view


@pytest.mark.parametrize('name', PRUNERS)
def test_the_next_dearer_schedule_would_exceed_the_budget(name) -> None:
    """Every step is counted, none is skipped, and costs need not fall for this to hold."""
    model, pruner = vit(), PRUNERS[name]
    steps = [1, 4, 9] if name == 'grid' else range(1, 10)
    costs = {r: cost(model, pruner, r, VIT_CLIP) for r in steps}
    whole = cost(model, None, 0, VIT_CLIP)
    possible = [share for share in SHARES if min(costs.values()) <= share * whole]
    assert len(possible) >= 2
    for share, solution in zip(possible, solve_budgets(model, pruner, possible, VIT_CLIP)):
        best = max((c, r) for r, c in costs.items() if c <= share * whole)
        assert (solution.gflops_per_view, solution.schedule) == best
        assert solution.budget_gflops == pytest.approx(share * whole)


def test_a_budget_that_a_schedule_meets_to_the_last_bit() -> None:
    model, pruner = vit(), PRUNERS['random']
    share = cost(model, pruner, 5, VIT_CLIP) / cost(model, None, 0, VIT_CLIP)
    at, below = solve_budgets(model, pruner, [share * (1 + 1e-12), share * (1 - 1e-9)], VIT_CLIP)
    assert (at.schedule, below.schedule) == (5, 6)


@pytest.mark.parametrize('name', ['sta', pytest.param('random', marks=pytest.mark.slow)])
def test_grids_that_are_not_the_papers(name) -> None:
    model = swin()
    clip = swin_clip(model)
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
    assert model.drop_ladder(VIT_CLIP) == list(range(1, 10))
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
        solve_budgets(vit(), PRUNERS['sta'], [0.8, share], VIT_CLIP)
    assert '\n' not in str(error.value)


def test_what_is_named_as_possible_is_possible() -> None:
    model = vit()
    with pytest.raises(BudgetError) as error:
        solve_budgets(model, PRUNERS['sta'], [0.01], VIT_CLIP)
    share = float(str(error.value).rpartition(' ')[2])
    assert solve_budgets(model, PRUNERS['sta'], [share], VIT_CLIP)[0].schedule == 9
    with pytest.raises(BudgetError):
        solve_budgets(model, PRUNERS['sta'], [share - 0.0101], VIT_CLIP)


def test_a_pruner_that_the_model_refuses() -> None:
    model = swin()
    with pytest.raises(ScheduleError, match='ToMeMergePruner merges'):
        solve_budgets(model, PRUNERS['merge'], [0.9], swin_clip(model))


def test_the_model_keeps_its_variant() -> None:
    model = vit(schedule=3)
    solve_budgets(model, PRUNERS['random'], [0.8], VIT_CLIP)
    assert model.backbone.schedule.tokens_after_stages(128)[0] == 128 - 24
