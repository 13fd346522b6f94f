"""Scores kept per video, accuracy, and what is computed from them."""

from .accuracy import top_k_correct
from .classes import SIGNIFICANT, ClassChange, ClassComparison, compare_classes, top1_by_class
from .confusion import Confusion, confusions_by_growth
from .results import Cost, EvaluationResult, LeftOut, SummaryRow, VariantResult, summarise
from .store import ScoreStore, Stored, StoredVideo, StoreError

__all__ = [
    'SIGNIFICANT',
    'ClassChange',
    'ClassComparison',
    'Confusion',
    'Cost',
    'EvaluationResult',
    'LeftOut',
    'ScoreStore',
    'StoreError',
    'Stored',
    'StoredVideo',
    'SummaryRow',
    'VariantResult',
    'compare_classes',
    'confusions_by_growth',
    'summarise',
    'top1_by_class',
    'top_k_correct',
]
