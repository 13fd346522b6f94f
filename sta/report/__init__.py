"""What an evaluation found, for people and for programs: tables, files and plots."""

from .benchmark import (
    benchmark_rows,
    benchmark_table,
    breakdown_table,
    end_to_end_table,
    json_beside,
    write_benchmark,
)
from .console import accuracy_table, cost_table, print_accuracy_table, print_table
from .plot import plot_accuracy_vs_gflops, plot_accuracy_vs_throughput, save_figure
from .writers import Scores, read_scores, write_results

__all__ = [
    'Scores',
    'accuracy_table',
    'benchmark_rows',
    'benchmark_table',
    'breakdown_table',
    'cost_table',
    'end_to_end_table',
    'json_beside',
    'plot_accuracy_vs_gflops',
    'plot_accuracy_vs_throughput',
    'print_accuracy_table',
    'print_table',
    'read_scores',
    'save_figure',
    'write_benchmark',
    'write_results',
]
