"""Numbers to schedules: the paper's among them, every one at the budget or below."""

from __future__ import annotations

import random

import pytest
import torch

from sta.analysis import count_costs
from sta.errors import ScheduleError
from sta.models import STASwinTransformer3D, STAVisionTransformer
from sta.pruning import PruningSchedule, Variant
from sta.search.space import SwinSpace, ViTSpace, space_of, stages_within
from tests.analysis.counted import Model
from tests.models.small_vit import SMALL

CLIP = (3, 16, 32, 32)


def vit() -> Model:
    with torch.device('meta'):
        return Model(STAVisionTransformer(**SMALL), 7)


def gflops_of(model: Model):
    def gflops(stages) -> float:
        (cost,) = count_costs(model, [Variant('v', {'type': 'STAPruner'}, stages or None)], CLIP)
        return cost.gflops_per_view

    return gflops


def drawn(space, seed: int) -> dict:
    numbers = random.Random(seed)

    class Trial:
        def suggest_float(self, name, low, high):
            return numbers.uniform(low, high)

        def suggest_categorical(self, name, choices):
            return numbers.choice(choices)

    return space.drawn(Trial())


@pytest.mark.parametrize('depth, num_stages', [(12, 3), (24, 3), (32, 3), (12, 2), (12, 4), (6, 1)])
@pytest.mark.parametrize('r', [1, 5, 9])
def test_the_papers_schedule_is_in_the_space(depth, num_stages, r) -> None:
    space = ViTSpace(depth, 8, 16, num_stages)
    schedule = PruningSchedule.from_drop(r, depth=depth, num_frames_tokens=8, num_stages=num_stages)
    expected = [vars(stage) for stage in schedule.stages]
    assert space.stages(space.paper(), r / 16) == expected


def test_the_papers_videoswin_is_in_the_space() -> None:
    """r1 = 320 of 784: 320, 120 and 40 tokens of 784, 196 and 49."""
    space = SwinSpace((1, 3, 21), 56, 56)
    assert space.tokens == [784, 196, 49]
    found = space.stages(space.paper(), 320 / 784 / 0.5)
    assert [stage['num_drop'] for stage in found] == [320, 120, 40]
    assert [stage['after_block'] for stage in found] == [1, 3, 21]
    assert [stage['backward'] for stage in found] == [False, True, False]


def tokens_times_blocks(stages) -> float:
    """Quick to count: 128 tokens in 6 blocks, less what no longer goes through them."""
    tokens = 128
    for stage in stages:
        if stage['num_drop'] >= tokens / stage['num_chunks']:
            raise ScheduleError('drops a chunk whole')
        tokens -= stage['num_chunks'] * stage['num_drop']
    gone = [s['num_chunks'] * s['num_drop'] * (5 - s['after_block']) for s in stages]
    return 128 * 6 - sum(gone)


@pytest.mark.parametrize('seed', range(40))
def test_drawn_schedules_meet_the_budget_and_hardly_less(seed) -> None:
    space = ViTSpace(6, 8, 16, 3)
    numbers, budget = drawn(space, seed), 0.6 * 128 * 6
    stages = stages_within(space, numbers, tokens_times_blocks, budget)
    if stages is None:
        # Even the most that can go at these places is too little.
        costs = []
        for step in range(1, 2000):
            try:
                costs.append(tokens_times_blocks(space.stages(numbers, step / 2000)))
            except ScheduleError:
                break
        assert not costs or min(costs) > budget
        return
    places = [stage['after_block'] for stage in stages]
    assert places == sorted(set(places)) and places[-1] < 6
    assert tokens_times_blocks(stages) <= budget
    # Where every stage drops one token less, it exceeds the budget.
    dearer = [{**stage, 'num_drop': stage['num_drop'] - 1} for stage in stages]
    assert tokens_times_blocks([stage for stage in dearer if stage['num_drop']]) > budget


def test_a_drawn_schedule_runs_at_the_cost_that_was_counted() -> None:
    model = vit()
    space, gflops = space_of(model.backbone), gflops_of(model)
    whole = gflops([])
    stages = stages_within(space, drawn(space, 1), gflops, 0.7 * whole)
    model.backbone.set_schedule(stages)
    assert 0.6 * whole < gflops(stages) <= 0.7 * whole


def test_no_scale_meets_a_budget_below_the_least() -> None:
    space = ViTSpace(6, 8, 16, 3)
    assert stages_within(space, space.paper(), tokens_times_blocks, 1e-6) is None


@pytest.mark.parametrize('num_stages, words', [(7, '7 stages do not fit'), (5, 'halve the 8')])
def test_more_stages_than_there_is_room_for(num_stages, words) -> None:
    with pytest.raises(ScheduleError, match=words):
        space_of(vit().backbone, num_stages)


def test_a_videoswin_is_searched_at_its_mergings() -> None:
    with torch.device('meta'):
        backbone = STASwinTransformer3D('tiny')
    space = space_of(backbone, 3)
    assert isinstance(space, SwinSpace) and space.merged_blocks == backbone.stage_places
