"""Speeds side by side as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from sta.analysis.speed import Timing
from sta.atomic import write_text

from .console import table_of_texts


def benchmark_rows(
    timings: Sequence[Timing],
    gflops: Mapping[str, float],
    shares: Mapping[str, float],
    peaks: Mapping[str, float | None] | None = None,
) -> list[dict[str, Any]]:
    """Figures of each contestant; speed-ups against the unpruned one and against mmaction2's.

    Args:
        timings: of every contestant.
        gflops: per view, of ours.
        shares: of the forward spent in pruning stages, of ours.
        peaks: memory of a forward in MB, where it was measured.
    """
    median = {timing.name: timing.median_s for timing in timings}
    rows = []
    for timing in timings:
        low, high = timing.quartiles_s
        name = timing.name
        own = median.get('unpruned')
        bound = gflops['unpruned'] / gflops[name] if {'unpruned', name} <= set(gflops) else None
        speedup = own / timing.median_s if own else None
        rows.append(
            {
                'name': name,
                'batch_size': timing.batch_size,
                'ms_median': 1e3 * timing.median_s,
                'ms_quartile1': 1e3 * low,
                'ms_quartile3': 1e3 * high,
                'clips_per_s': timing.clips_per_s,
                'gflops_per_view': gflops.get(name),
                'speedup_vs_unpruned': speedup,
                'speedup_bound': bound,
                'share_of_bound': speedup / bound if speedup and bound else None,
                'speedup_vs_mmaction2': median['mmaction2'] / timing.median_s
                if 'mmaction2' in median
                else None,
                'pruning_share': shares.get(name),
                'peak_mb': (peaks or {}).get(name),
            }
        )
    return rows


def write_benchmark(
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    facts: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the figures as CSV under a comment line with the conditions, and as JSON beside it.

    Args:
        rows: from :func:`benchmark_rows`; lists among the values go into the JSON alone.
        path: of the CSV; the JSON has .json in place of its ending.
        title: the conditions in a line.
        facts: of the JSON: machine, versions, every round, ...

    Returns:
        Both paths.

    Raises:
        OSError: a file cannot be written.
    """
    file = io.StringIO()
    file.write(f'# {title}\n')
    plain = [key for key, value in rows[0].items() if not isinstance(value, list)]
    writer = csv.DictWriter(file, plain, extrasaction='ignore', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    paths = [path, json_beside(path)]
    write_text(paths[0], file.getvalue())
    write_text(
        paths[1], json.dumps({'title': title, **(facts or {}), 'rows': list(rows)}, indent=2)
    )
    return paths


def json_beside(path: Path) -> Path:
    """Where the JSON of a CSV goes."""
    return path.with_suffix('.json')


def benchmark_table(rows: Sequence[Mapping[str, Any]], *, title: str) -> Table:
    """Median and quartiles of a forward, clips/s, and speed-ups.

    Args:
        rows: from :func:`benchmark_rows`.
        title: above the table.
    """
    columns = {
        'ms\nmedian': [_number(row['ms_median'], 1) for row in rows],
        'ms\nquartiles': [f'{row["ms_quartile1"]:.1f}-{row["ms_quartile3"]:.1f}' for row in rows],
        'clips\n/s': [_number(row['clips_per_s'], 2) for row in rows],
        'x\nunpruned': [_number(row['speedup_vs_unpruned'], 2) for row in rows],
        'x by\nGFLOPs': [_number(row['speedup_bound'], 2) for row in rows],
        '% of\nthat': [_number(row['share_of_bound'], 0, 100.0) for row in rows],
        'x\nmmaction2': [_number(row['speedup_vs_mmaction2'], 2) for row in rows],
        'pruning\n%': [_number(row['pruning_share'], 2, 100.0) for row in rows],
        'peak\nMB': [_number(row['peak_mb'], 0) for row in rows],
    }
    note = (
        'x: times as fast as the one named. x by GFLOPs: what the cost promises. pruning: share of '
        'the forward spent in pruning stages. peak: memory beyond weights and clips.'
    )
    return table_of_texts(
        'variant', [row['name'] for row in rows], list(columns), list(columns.values()), title, note
    )


def end_to_end_table(rows: Sequence[Mapping[str, Any]], *, title: str) -> Table:
    """Videos per second from the file to the scores.

    Args:
        rows: from :func:`benchmark_rows`, of passes over videos.
        title: above the table.
    """
    columns = {
        'ms/video\nmedian': [_number(row['ms_median'] / row['batch_size'], 1) for row in rows],
        'ms/video\nquartiles': [
            '-'.join(
                f'{row[key] / row["batch_size"]:.1f}' for key in ('ms_quartile1', 'ms_quartile3')
            )
            for row in rows
        ],
        'videos\n/s': [_number(row['clips_per_s'], 2) for row in rows],
        'x\nunpruned': [_number(row['speedup_vs_unpruned'], 2) for row in rows],
        'x by\nGFLOPs': [_number(row['speedup_bound'], 2) for row in rows],
        '% of\nthat': [_number(row['share_of_bound'], 0, 100.0) for row in rows],
    }
    note = 'From the file to the scores of all views of a video; decoding runs beside the model.'
    return table_of_texts(
        'variant', [row['name'] for row in rows], list(columns), list(columns.values()), title, note
    )


def breakdown_table(parts: Mapping[str, Mapping[str, float]]) -> Table:
    """Milliseconds of a forward by what they were spent on.

    Args:
        parts: of each contestant, see :func:`sta.analysis.speed.time_by_part`.
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
