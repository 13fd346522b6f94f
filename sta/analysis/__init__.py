"""What a model costs."""

from .flops import count_costs, count_macs

__all__ = ['count_costs', 'count_macs']
