"""Counting: single operations by hand, several variants, and a model left as it was."""

from __future__ import annotations

import copy
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.analysis import count_costs, count_macs
from sta.errors import ScheduleError
from sta.pruning import Variant
from tests.analysis.counted import Model, count
from tests.models.small_vit import small_vit


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


def test_a_model_under_evaluation_stays_so() -> None:
    """Or dropout and stochastic depth would be at work in everything measured afterwards."""
    model = Model(small_vit(drop_path_rate=0.5), 7).eval()
    count(model, 4)
    assert not any(module.training for module in model.modules())


def test_a_schedule_that_does_not_fit_is_refused_and_the_old_one_stays() -> None:
    model = Model(small_vit(schedule=3), 7)
    before = model.backbone.schedule
    with pytest.raises(ScheduleError, match='stage 1'):
        count(model, 16)
    assert model.backbone.schedule == before


def test_batches_cost_in_proportion() -> None:
    model = small_vit(schedule=4)
    assert count_macs(model, (5, 3, 16, 32, 32)) == 5 * count_macs(model, (1, 3, 16, 32, 32))
