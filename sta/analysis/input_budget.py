"""Which threshold meets a budget, for pruning whose cost depends on the clips: from clips seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .budget import BudgetError


class Threshold(NamedTuple):
    """The smallest threshold whose average cost stays within a budget.

    Attributes:
        value: of the mean absolute difference of tubelets.
        gflops_per_view: mean over the clips it was chosen on.
        budget_gflops: what that had to stay within.
    """

    value: float
    gflops_per_view: float
    budget_gflops: float


def solve_thresholds(
    gflops: Callable[[np.ndarray], np.ndarray],
    changes: np.ndarray,
    tokens_per_frame: int,
    shares: Sequence[float],
) -> list[Threshold]:
    """For each budget the smallest threshold that keeps the mean cost within it.

    Args:
        gflops: of clips that keep so and so many tokens.
        changes: (clips, M) of every tubelet after a clip's first, see tubelet_changes.
        tokens_per_frame: tokens of the first frame, which always stay.
        shares: budgets as shares of the unpruned GFLOPs, between 0 and 1.

    Returns:
        One for each budget, in their order.

    Raises:
        BudgetError: no share, or less than the first frame alone costs.
    """
    ordered = np.sort(changes, axis=1)
    candidates = np.unique(ordered)
    whole = float(gflops(np.array([tokens_per_frame + changes.shape[1]]))[0])
    least = float(gflops(np.array([tokens_per_frame]))[0])

    def cost(threshold: float) -> float:
        below = np.array([np.searchsorted(row, threshold, side='left') for row in ordered])
        return float(gflops(tokens_per_frame + changes.shape[1] - below).mean())

    found = []
    for share in shares:
        if not 0.0 < share < 1.0:
            raise BudgetError(
                f'a budget is a share of the unpruned GFLOPs between 0 and 1, got {share:g}'
            )
        if least > share * whole:
            raise BudgetError(
                f'budget {share:g} is {share * whole:.3g} of {whole:.4g} GFLOPs, but the first '
                f'frame of tokens, which always stays, costs {least:.4g}'
            )
        low, high = 0, len(candidates)  # the last one stands for a threshold above everything
        while low < high:
            middle = (low + high) // 2
            if cost(candidates[middle]) <= share * whole:
                high = middle
            else:
                low = middle + 1
        above_all = low == len(candidates)
        value = _rounded_up(np.nextafter(candidates[-1], np.inf) if above_all else candidates[low])
        found.append(Threshold(value, cost(value), share * whole))
    return found


def _rounded_up(value: float) -> float:
    """Four digits that can be typed; upwards, so that the cost stays within the budget."""
    if value <= 0:
        return float(value)
    near = float(f'{value:.4g}')
    if near >= value:
        return near
    return float(f'{near + 10.0 ** (math.floor(math.log10(value)) - 3):.4g}')
