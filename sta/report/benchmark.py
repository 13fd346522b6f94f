"""Speeds side by side as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from .console import table_of_texts


def benchmark_table(rows: Sequence[Mapping[str, Any]], *, title: str) -> Table:
    """Median and quartiles of a forward, clips/s, and speed-ups.

    Args:
        rows: figures of each contestant, see tools/benchmark.py.
        title: above the table.
    """
    columns = {
        'ms\nmedian': [_number(row['ms_median'], 1) for row in rows],
        'ms\nquartiles': [f'{row["ms_quartile1"]:.1f}-{row["ms_quartile3"]:.1f}' for row in rows],
        'clips\n/s': [_number(row['clips_per_s'], 2) for row in rows],
        'x\nunpruned': [_number(row['speedup_vs_unpruned'], 2) for row in rows],
        'x by\nGFLOPs': [_number(row['speedup_bound'], 2) for row in rows],
        'x\nmmaction2': [_number(row['speedup_vs_mmaction2'], 2) for row in rows],
        'pruning\n%': [_number(row['pruning_share'], 2, 100.0) for row in rows],
    }
    note = (
        'x: times as fast as the one named. x by GFLOPs: what the cost promises. pruning: share of '
        'the forward spent in pruning stages.'
    )
    return table_of_texts(
        'variant', [row['name'] for row in rows], list(columns), list(columns.values()), title, note
    )


def breakdown_table(parts: Mapping[str, Mapping[str, float]]) -> Table:
    """Milliseconds of a forward by what they were spent on.

    Args:
        parts: of each contestant, see :func:`sta.analysis.breakdown.time_by_part`.
    """
    kinds = list(next(iter(parts.values())))
    columns = [[_number(spent[kind], 1) for spent in parts.values()] for kind in kinds]
    columns.append([_number(sum(spent.values()), 1) for spent in parts.values()])
    return table_of_texts(
        'variant',
        list(parts),
        [kind.replace(' ', '\n', 1) for kind in [*kinds, 'sum']],
        columns,
        'Where the time goes, ms',
        'attention: without its linear layers. Profiled: the sum is a little above the time.',
    )


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    return '-' if value is None else f'{value * factor:.{digits}f}'
