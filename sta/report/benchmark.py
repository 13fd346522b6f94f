"""What variants cost and how fast they are, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from sta.analysis.speed import Timing
from sta.atomic import write_text
from sta.evaluation import Cost

from .table import GFLOP_NOTE, Column, Table, columns_of, counted, decimals, scaled

Timed = Mapping[str, Any]  # a row of benchmark_rows


def _or_dash(number: int, factor: float = 1.0) -> Callable[[Sequence[float | None]], list[str]]:
    """So many decimals; a dash where nothing was measured."""
    return lambda values: [
        '-' if value is None else f'{value * factor:.{number}f}' for value in values
    ]


def _quartiles(row: Timed, parts: int = 1) -> str:
    ends = (row['ms_quartile1'], row['ms_quartile3'])
    return '-'.join(f'{end / parts:.1f}' for end in ends)


SPEED_UPS: tuple[Column[Timed], ...] = (
    Column('speedup_vs_unpruned', 'x\nunpruned', _or_dash(2)),
    Column('speedup_bound', 'x by\nGFLOPs', _or_dash(2)),
    Column('share_of_bound', '% of\nthat', _or_dash(0, 100.0)),
)
COLUMNS: tuple[Column[Timed], ...] = (
    Column('name', 'variant'),
    Column('batch_size'),
    Column('ms_median', 'ms\nmedian', _or_dash(1)),
    Column('', 'ms\nquartiles', value=_quartiles),
    *columns_of(['ms_quartile1', 'ms_quartile3']),
    Column('clips_per_s', 'clips\n/s', _or_dash(2)),
    Column('gflops_per_view'),
    *SPEED_UPS,
    Column('speedup_vs_mmaction2', 'x\nmmaction2', _or_dash(2)),
    Column('pruning_share', 'pruning\n%', _or_dash(2, 100.0)),
    Column('peak_mb', 'peak\nMB', _or_dash(0)),
)
END_TO_END: tuple[Column[Timed], ...] = (
    Column('name', 'variant'),
    Column('', 'ms/video\nmedian', _or_dash(1), lambda row: row['ms_median'] / row['batch_size']),
    Column('', 'ms/video\nquartiles', value=lambda row: _quartiles(row, row['batch_size'])),
    Column('clips_per_s', 'videos\n/s', _or_dash(2)),
    *SPEED_UPS,
)


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
        rows: from :func:`benchmark_rows`; what else they hold goes into the JSON alone.
        path: of the CSV; the JSON has .json in place of its ending.
        title: the conditions in a line.
        facts: of the JSON: machine, versions, every round, ...

    Returns:
        Both paths.

    Raises:
        OSError: a file cannot be written.
    """
    paths = [path, json_beside(path)]
    write_text(paths[0], f'# {title}\n{Table(COLUMNS, rows).csv()}')
    write_text(
        paths[1], json.dumps({'title': title, **(facts or {}), 'rows': list(rows)}, indent=2)
    )
    return paths


def json_beside(path: Path) -> Path:
    """Where the JSON of a CSV goes."""
    return path.with_suffix('.json')


def benchmark_table(rows: Sequence[Timed], *, title: str) -> Table[Timed]:
    """Median and quartiles of a forward, clips/s, and speed-ups.

    Args:
        rows: from :func:`benchmark_rows`.
        title: above the table.
    """
    note = (
        'x: times as fast as the one named. x by GFLOPs: what the cost promises. pruning: share of '
        'the forward spent in pruning stages. peak: memory beyond weights and clips.'
    )
    return Table(COLUMNS, rows, title, note)


def end_to_end_table(rows: Sequence[Timed], *, title: str) -> Table[Timed]:
    """Videos per second from the file to the scores.

    Args:
        rows: from :func:`benchmark_rows`, of passes over videos.
        title: above the table.
    """
    note = 'From the file to the scores of all views of a video; decoding runs beside the model.'
    return Table(END_TO_END, rows, title, note)


def breakdown_table(parts: Mapping[str, Mapping[str, float]]) -> Table[Any]:
    """Milliseconds of a forward by what they were spent on.

    Args:
        parts: of each contestant, see :func:`sta.analysis.speed.time_by_part`.
    """
    rows = [{'': name, **spent, 'sum': sum(spent.values())} for name, spent in parts.items()]
    return Table(
        [
            Column('', 'variant', value=itemgetter('')),
            *(Column(kind, kind.replace(' ', '\n', 1), decimals(1)) for kind in list(rows[0])[1:]),
        ],
        rows,
        title='Where the time goes, ms',
        note='attention: without its linear layers. Profiled: the sum is a little above the time.',
    )


def cost_table(
    costs: Sequence[tuple[str, Cost]],
    *,
    views: int,
    title: str = '',
    unpruned_gflops: float | None = None,
) -> Table[tuple[str, Cost]]:
    """What variants cost, before any data is read.

    Args:
        costs: name and cost of each variant.
        views: views per video.
        title: above the table.
        unpruned_gflops: of a view without pruning, which savings are against; default that of the
            variant which drops nothing.
    """
    unpruned = unpruned_gflops
    if unpruned is None:
        unpruned = next((cost.gflops_per_view for _, cost in costs if cost.drops_nothing), None)

    def saved(cost: Cost) -> float | None:
        return None if unpruned is None else 100.0 * (1.0 - cost.gflops_per_view / unpruned)

    columns: list[Column[Cost]] = [
        Column('num_tokens', 'tokens\nunpruned'),
        Column('', 'tokens after\neach stage', value=_stages),
        Column('gflops_per_view', 'GFLOPs\n/view', scaled),
        Column('', 'GFLOPs\n/video', scaled, lambda cost: views * cost.gflops_per_view),
        Column('', 'saved\n%', decimals(1), saved),
        Column('', 'params\nM', decimals(2), lambda cost: cost.num_parameters / 1e6),
    ]
    note = f'{counted(views, "view")} per video. {GFLOP_NOTE} saved: against no pruning.'
    name: Column[tuple[str, Cost]] = Column('name', 'variant', value=itemgetter(0))
    return Table(
        [name, *(column.of(lambda held: held[1]) for column in columns)], costs, title, note
    )


def _stages(cost: Cost) -> str:
    return ' '.join(map(str, cost.tokens_after_stages)) or '-'
