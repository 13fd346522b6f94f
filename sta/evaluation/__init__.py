"""Scores kept per video, accuracy, and what is computed from them."""

from .accuracy import top_k_correct
from .classes import SIGNIFICANT, ClassChange, ClassComparison, compare_classes, top1_by_class
from .confusion import Confusion, confusions_by_growth
from .results import Cost, EvaluationResult, SummaryRow, VariantResult, summarise

__all__ = [
    'SIGNIFICANT',
    'ClassChange',
    'ClassComparison',
    'Confusion',
    'Cost',
    'EvaluationResult',
    'SummaryRow',
    'VariantResult',
    'compare_classes',
    'confusions_by_growth',
    'summarise',
    'top1_by_class',
    'top_k_correct',
]
