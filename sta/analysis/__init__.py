"""What a model costs, and how much must go to stay within a budget."""

from sta.errors import BudgetError

from .costs import (
    Solution,
    count_costs,
    count_macs,
    gflops_of_tokens,
    solve_budgets,
    solve_thresholds,
)

__all__ = [
    'BudgetError',
    'Solution',
    'count_costs',
    'count_macs',
    'gflops_of_tokens',
    'solve_budgets',
    'solve_thresholds',
]
