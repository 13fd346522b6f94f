"""Scores kept per video, accuracy, and what is computed from them."""

from .accuracy import standard_error, top_k_correct
from .classes import SIGNIFICANT, ClassChange, ClassComparison, compare_classes, top1_by_class
from .confusion import Confusion, confusions_by_growth
from .fidelity import Fidelity, fidelities
from .paired import PairedChange, bootstrap_interval, mcnemar_p, paired_change
from .results import Cost, EvaluationResult, LeftOut, VariantResult
from .store import STORE_FORMAT, ScoreStore, Stored, StoredVideo, StoreError
from .summary import SummaryRow, shown_rows, summarise

__all__ = [
    'STORE_FORMAT',
    'SIGNIFICANT',
    'ClassChange',
    'ClassComparison',
    'Confusion',
    'Cost',
    'EvaluationResult',
    'Fidelity',
    'LeftOut',
    'PairedChange',
    'ScoreStore',
    'StoreError',
    'Stored',
    'StoredVideo',
    'SummaryRow',
    'VariantResult',
    'bootstrap_interval',
    'compare_classes',
    'fidelities',
    'confusions_by_growth',
    'mcnemar_p',
    'paired_change',
    'shown_rows',
    'standard_error',
    'summarise',
    'top1_by_class',
    'top_k_correct',
]
