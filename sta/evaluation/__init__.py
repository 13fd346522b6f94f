"""Scores kept per video, accuracy, and what is computed from them."""

from .accuracy import top_k_correct
from .results import Cost, EvaluationResult, LeftOut, SummaryRow, VariantResult, summarise
from .store import ScoreStore, Stored, StoredVideo, StoreError

__all__ = [
    'Cost',
    'EvaluationResult',
    'LeftOut',
    'ScoreStore',
    'StoreError',
    'Stored',
    'StoredVideo',
    'SummaryRow',
    'VariantResult',
    'summarise',
    'top_k_correct',
]
