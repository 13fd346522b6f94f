"""What a model costs, and how much must go to stay within a budget."""

from .budget import BudgetError, Solution, solve_budgets
from .flops import count_costs, count_macs

__all__ = ['BudgetError', 'Solution', 'count_costs', 'count_macs', 'solve_budgets']
