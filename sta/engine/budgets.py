"""Budgets as typed on a command line: for every pruner the schedules that meet them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config

from sta.analysis import BudgetError, solve_budgets
from sta.pruning import ScheduleError

from .session import build_model, clip_shape
from .variants import VariantError, pruner_name


def meet_budgets(
    config: Config, pruners: Sequence[Mapping[str, Any]], shares: Sequence[float]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Give every pruner the schedules that cost nearest to each budget, and not more.

    Args:
        config: with a model; costs are those of the clips it was built for.
        pruners: settings.
        shares: of the unpruned GFLOPs.

    Returns:
        The pruners with schedules of their own, and a line on each for people.

    Raises:
        BudgetError: a budget that a pruner cannot meet; names it.
        ScheduleError: a pruner that this model refuses.
    """
    if not isinstance(pruners, list | tuple) or not all(isinstance(p, Mapping) for p in pruners):
        raise VariantError(f'pruners must be a list of dict(type=..., ...), got {pruners!r}')
    with torch.device('meta'):  # shapes are all that counts: a ViT-H need not be filled
        model = build_model(config)
    found, lines = [], []
    for pruner in pruners:
        name = pruner_name(pruner)
        settings = {k: value for k, value in pruner.items() if k not in ('name', 'schedules')}
        try:
            solutions = solve_budgets(model, settings, shares, clip_shape(model.backbone))
        except (BudgetError, ScheduleError) as error:
            raise type(error)(f'{name}: {error}') from None
        for share, solution in zip(shares, solutions, strict=True):
            lines.append(
                f'budget {share:g} = {solution.budget_gflops:.4g} GFLOPs per view: {name} drops '
                f'{as_typed(solution.schedule)}, {solution.gflops_per_view:.4g} GFLOPs'
            )
        # Two budgets may be met by one schedule.
        schedules = {as_typed(s.schedule): s.schedule for s in solutions}
        found.append({**pruner, 'schedules': list(schedules.values())})
    return found, lines


def as_typed(schedule: int | Sequence[int]) -> str:
    """A schedule as --schedules takes it: 64, or 24,6,1."""
    return str(schedule) if isinstance(schedule, int) else ','.join(map(str, schedule))
