"""The files of a whole sweep: its tables, one picture, one page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sta.atomic import write_text
from sta.evaluation import SummaryRow, shown_rows
from sta.report import plot_accuracy_vs_gflops, save_figure
from sta.report.page import PAGE, Picture, inline_svg, render
from sta.report.table import ACCURACY, Column, Table

from .manifest import Manifest
from .state import ElementState
from .texts import (
    STATES,
    Found,
    short_note,
    states_json,
    summary_line,
    sweep_csv,
    sweep_json,
    sweep_latex,
    sweep_markdown,
)

RESULTS = 'results'


def write_sweep(
    manifest: Manifest, found: Found, states: Sequence[ElementState], folder: Path
) -> list[Path]:
    """Write what is known of a whole sweep.

    Args:
        manifest: what it is a sweep of.
        found: results by evaluation; those that have any.
        states: of all elements.
        folder: of the sweep.

    Returns:
        The paths.
    """
    facts = manifest.facts
    content = {
        'sweep': manifest.name,
        'facts': dict(facts),
        'summary': summary_line(states),
        'elements': states_json(states),
        'evaluations': [_record(name, folder / RESULTS / name) for name in found],
    }
    texts = {'results.json': sweep_json(content)}
    if found:
        texts['results.csv'] = sweep_csv(found)
        texts['results.tex'] = sweep_latex(manifest.name, found, facts)
        texts['results.md'] = sweep_markdown(manifest.name, found, states, facts)
    for name, text in texts.items():
        write_text(folder / name, text)
    paths = [folder / name for name in texts]
    if found:
        figure = sweep_figure(found, manifest.name)
        paths += save_figure(figure, folder, 'accuracy_vs_gflops')
        write_text(folder / PAGE, _page(manifest, found, states, figure))
        paths.append(folder / PAGE)
    return paths


def sweep_figure(found: Found, title: str) -> Figure:
    """Accuracy against cost of all evaluations, a line per evaluation and pruner."""
    rows = [row for name, one in found.items() for row in _lines(name, shown_rows(one.rows))]
    videos = [one.facts['num_videos'] for one in found.values()]
    note = 'a line per evaluation and pruner, from no pruning on; no intervals: see each evaluation'
    return plot_accuracy_vs_gflops(rows, num_videos=min(videos), title=title, note=note)


def _lines(name: str, rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """Rows under names of lines that are their own; every line begins at no pruning."""
    families = list(dict.fromkeys(row.pruner for row in rows if row.pruner))
    unpruned = [row for row in rows if not row.pruner]
    lines = []
    for family in families or ['']:
        label = f'{name} {family}'.strip() if len(families) > 1 else name
        own = [row for row in rows if row.pruner == family] if family else []
        lines += [dataclasses.replace(row, pruner=label) for row in (*unpruned, *own)]
    return lines


def _page(manifest: Manifest, found: Found, states: Sequence[ElementState], figure: Figure) -> str:
    rows = [(name, row) for name, one in found.items() for row in one.shown]
    columns: list[Column[tuple[str, SummaryRow]]] = [
        Column('', 'evaluation, variant', value=lambda held: f'{held[0]}, {held[1].name}'),
        *(column.of(itemgetter(1)) for column in ACCURACY[1:]),
    ]
    plots = [Picture(inline_svg(figure, 'All evaluations'), 'All evaluations')]
    for name, one in found.items():
        own = plot_accuracy_vs_gflops(
            shown_rows(one.rows), num_videos=one.facts['num_videos'], title=name
        )
        more = f'{name}; classes and more in {RESULTS}/{name}/{PAGE}'
        plots.append(Picture(inline_svg(own, f'Accuracy of {name}'), more))
    notes = ' '.join(f'{name}: {short_note(one)}' for name, one in found.items())
    notes += ''.join(f' {s.element.name} failed: {s.error}.' for s in states if s.error)
    return render(
        title=manifest.name,
        facts=dict(manifest.facts),
        summary=summary_line(states),
        results=Table(columns, rows, 'Accuracy and cost'),
        note=notes,
        plots=plots,
        elements=Table(STATES, states, 'Jobs'),
    )


def _record(name: str, folder: Path) -> dict[str, Any]:
    results = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
    return {'name': name, **results}
