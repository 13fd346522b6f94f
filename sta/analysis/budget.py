"""How much must be dropped to stay within a budget: each method's own parameter, from its cost.

Methods that drop equally many tokens do not cost the same: merging compares all tokens, STA a few,
random draws none. At a budget they are compared at equal cost instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from sta.pruning import ScheduleError, Variant

from .flops import count_costs


class BudgetError(ValueError):
    """A budget that cannot be met; the message says what can."""


class Solution(NamedTuple):
    """The schedule of one pruner that comes nearest to a budget from below.

    Attributes:
        schedule: what to drop, as the backbone takes it.
        gflops_per_view: its cost.
        budget_gflops: what it had to stay within.
    """

    schedule: Any
    gflops_per_view: float
    budget_gflops: float


def solve_budgets(
    model: nn.Module,
    pruner: Any,
    shares: Sequence[float],
    clip_shape: tuple[int, int, int, int],
) -> list[Solution]:
    """For each budget the schedule that costs the most without exceeding it.

    The cost falls with every step of the backbone's ladder, so a bisection finds the step.

    Args:
        model: with ``backbone`` and ``cls_head``; on the meta device or not.
        pruner: settings of the pruner.
        shares: budgets as shares of the unpruned model's GFLOPs, between 0 and 1.
        clip_shape: (3, frames, H, W) of one view.

    Returns:
        One solution for each budget, in their order.

    Raises:
        BudgetError: no share, or less than the most that can be dropped still costs.
        ScheduleError: the pruner does not work on this backbone.
    """
    for share in shares:
        if not 0.0 < share < 1.0:
            raise BudgetError(
                f'a budget is a share of the unpruned GFLOPs between 0 and 1, got {share:g}'
            )
    ladder = _fitting(model.backbone, pruner, clip_shape)
    known: dict[int, float] = {}

    def gflops(step: int) -> float:
        if step not in known:
            schedule = None if step < 0 else ladder[step]
            (cost,) = count_costs(model, [Variant('budget', pruner, schedule)], clip_shape)
            known[step] = cost.gflops_per_view
        return known[step]

    whole, least = gflops(-1), gflops(len(ladder) - 1)
    solutions = []
    for share in shares:
        if least > share * whole:
            raise BudgetError(
                f'budget {share:g} is {share * whole:.3g} of {whole:.4g} GFLOPs, but dropping all '
                f'that can go still costs {least:.4g}: at least {_rounded_up(least / whole):g}'
            )
        low, high = -1, len(ladder) - 1  # the answer is above low and at most high
        while high - low > 1:
            middle = (low + high) // 2
            if gflops(middle) <= share * whole:
                high = middle
            else:
                low = middle
        solutions.append(Solution(ladder[high], gflops(high), share * whole))
    return solutions


def _fitting(backbone: Any, pruner: Any, clip_shape: tuple[int, int, int, int]) -> list[Any]:
    """The steps of the backbone's ladder that the pruner takes, from the least dropped on."""
    ladder, refusal = [], None
    for schedule in backbone.drop_ladder(clip_shape):
        try:
            with backbone.using(Variant('budget', pruner, schedule)):
                ladder.append(schedule)
        except ScheduleError as error:
            refusal = error
    if not ladder:
        raise refusal or BudgetError('this model is too small to drop anything')
    return ladder


def _rounded_up(share: float) -> float:
    """Two decimals, so that a budget of this share can be met."""
    return min((int(share * 100) + 1) / 100, 1.0)
