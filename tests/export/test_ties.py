"""Rounding moves the logits where two scores are nearly equal, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sta.export.check import is_tie, rounding_spread

CLIPS = torch.tensor([[1.0], [2.0], [4.0]])


class BestOfTwo(nn.Module):
    """Gives one of two rows of logits, after which of two weights scores higher on a clip (1,)."""

    def __init__(self, gap: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([1.0, 1.0 + gap]))
        self.register_buffer('logits', torch.tensor([[0.0, 0.0], [1.0, 3.0]]))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.logits[(clips * self.weights).argmax(1)]


@pytest.mark.parametrize(('gap', 'expected'), [(2.0**-23, 3.0), (1e-5, 0.0), (1e-2, 0.0)])
def test_scores_a_rounding_apart_change_places_and_others_do_not(
    gap: float, expected: float
) -> None:
    module = BestOfTwo(gap)
    assert module.weights[0] < module.weights[1]
    spread = rounding_spread(module, CLIPS, module(CLIPS).numpy(), np.full(3, np.inf))
    assert spread.tolist() == [expected] * 3
    again = rounding_spread(module, CLIPS, module(CLIPS).numpy(), np.full(3, np.inf))
    assert again.tolist() == spread.tolist()


def test_the_weights_are_left_alone() -> None:
    module = BestOfTwo(2.0**-23)
    rounding_spread(module, CLIPS, module(CLIPS).numpy(), np.zeros(3))
    assert module.weights.tolist() == [1.0, 1.0 + 2.0**-23]


def test_a_difference_is_explained_where_rounding_goes_as_far() -> None:
    difference = np.array([3.05, 3.2, 3.0, 0.15, np.nan, np.inf])
    spread = np.array([3.0, 3.0, 0.0, 0.09, 3.0, 3.0])
    # As far give or take; farther; not at all; what is allowed moves nothing; no numbers.
    expected = [True, False, False, False, False, False]
    assert is_tie(difference, spread, allowed=0.1).tolist() == expected
