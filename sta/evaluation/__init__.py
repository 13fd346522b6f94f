"""Scores kept per video, accuracy, and what is computed from them."""

from .accuracy import top_k_correct
from .results import Cost, EvaluationResult, SummaryRow, VariantResult, summarise

__all__ = [
    'Cost',
    'EvaluationResult',
    'SummaryRow',
    'VariantResult',
    'summarise',
    'top_k_correct',
]
