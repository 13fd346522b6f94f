"""Scores kept per video, accuracy, and what is computed from them."""

from .accuracy import all_finite, standard_error, top_k_correct
from .assembly import assemble
from .classes import SIGNIFICANT, ClassChange, ClassComparison, compare_classes, top1_by_class
from .conditions import Conditions, read_conditions
from .confusion import Confusion, confusions_by_growth
from .fidelity import Fidelity, fidelities
from .paired import (
    FEWEST_VIDEOS,
    PairedChange,
    bootstrap_interval,
    mcnemar_p,
    paired_change,
)
from .results import Cost, EvaluationResult, LeftOut, NotFinite, VariantResult
from .store import STORE_FORMAT, ScoreStore
from .stored import (
    Stored,
    StoredVideo,
    StoreError,
    differing_parts,
    read_condition_texts,
    read_fingerprint,
    read_stores,
    snapshots,
)
from .summary import SummaryRow, shown_rows, summarise

__all__ = [
    'ClassChange',
    'ClassComparison',
    'Conditions',
    'Confusion',
    'Cost',
    'EvaluationResult',
    'FEWEST_VIDEOS',
    'Fidelity',
    'LeftOut',
    'NotFinite',
    'PairedChange',
    'SIGNIFICANT',
    'STORE_FORMAT',
    'ScoreStore',
    'StoreError',
    'Stored',
    'StoredVideo',
    'SummaryRow',
    'VariantResult',
    'all_finite',
    'assemble',
    'bootstrap_interval',
    'compare_classes',
    'confusions_by_growth',
    'differing_parts',
    'fidelities',
    'mcnemar_p',
    'paired_change',
    'read_condition_texts',
    'read_conditions',
    'read_fingerprint',
    'read_stores',
    'shown_rows',
    'snapshots',
    'standard_error',
    'summarise',
    'top1_by_class',
    'top_k_correct',
]
