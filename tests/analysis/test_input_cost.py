"""What dropping at the input costs, and the thresholds that meet a budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.analysis import count_costs, gflops_of_tokens, solve_thresholds
from sta.errors import BudgetError, ScheduleError
from sta.models import STAVisionTransformer
from sta.pruning import Variant
from tests.analysis.counted import Model
from tests.models.small_vit import SMALL

CLIP = (3, 16, 32, 32)
RLT = {'type': 'RunLengthPruner', 'threshold': 0.1}


def vit() -> Model:
    with torch.device('meta'):
        return Model(STAVisionTransformer(**SMALL), 7)


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
