"""Which actions suffer from pruning: two variants class by class, for people and for programs."""

from .bars import plot_class_changes, plot_grown_confusions
from .files import numbered_names, write_classes, write_comparison
from .matrices import plot_confusions, plot_matrices
from .tables import change_texts, confusion_texts, table_of

__all__ = [
    'change_texts',
    'confusion_texts',
    'numbered_names',
    'plot_class_changes',
    'plot_confusions',
    'plot_grown_confusions',
    'plot_matrices',
    'table_of',
    'write_classes',
    'write_comparison',
]
