"""What an evaluation found, for people and for programs: tables, files and plots."""

import sys

from . import folder
from .benchmark import (
    benchmark_rows,
    benchmark_table,
    breakdown_table,
    cost_table,
    end_to_end_table,
    json_beside,
    write_benchmark,
)
from .folder import (
    Evaluation,
    Scores,
    evaluation_of,
    load,
    print_evaluation,
    read_scores,
    write_evaluation,
    write_results,
)
from .plots import plot_accuracy_vs_gflops, plot_accuracy_vs_throughput, save_figure
from .table import Column, Table, print_table

# Earlier documentation imports read_scores from there.
sys.modules[f'{__name__}.writers'] = folder

__all__ = [
    'Column',
    'Evaluation',
    'Scores',
    'Table',
    'benchmark_rows',
    'benchmark_table',
    'breakdown_table',
    'cost_table',
    'end_to_end_table',
    'evaluation_of',
    'json_beside',
    'load',
    'plot_accuracy_vs_gflops',
    'plot_accuracy_vs_throughput',
    'print_evaluation',
    'print_table',
    'read_scores',
    'save_figure',
    'write_benchmark',
    'write_evaluation',
    'write_results',
]
