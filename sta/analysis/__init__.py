"""What a model costs, and how much must go to stay within a budget."""

from .budget import BudgetError, Solution, solve_budgets
from .flops import count_costs, count_macs
from .input_budget import solve_thresholds
from .input_cost import gflops_of_tokens

__all__ = [
    'BudgetError',
    'Solution',
    'count_costs',
    'count_macs',
    'gflops_of_tokens',
    'solve_budgets',
    'solve_thresholds',
]
