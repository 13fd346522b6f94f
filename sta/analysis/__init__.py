"""What a model costs, and how much must go to stay within a budget."""

import sys

from sta.errors import BudgetError

from . import places
from .costs import (
    Solution,
    count_costs,
    count_macs,
    gflops_of_tokens,
    solve_budgets,
    solve_thresholds,
)

# Earlier documentation imports trajectory_sum_of from there.
sys.modules[f'{__name__}.trajectories'] = places

__all__ = [
    'BudgetError',
    'Solution',
    'count_costs',
    'count_macs',
    'gflops_of_tokens',
    'solve_budgets',
    'solve_thresholds',
]
