"""A filled table as a table of the screen, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table as ScreenTable

from sta.report.console import table_of_texts
from sta.report.texts import markdown_table

from .experiment import config_schedule
from .latex import latex_table
from .results import STATISTICS, FilledTable, Place, shown

FIELDS = (
    'table',
    'row',
    'column',
    'quantity',
    'published',
    'ours',
    'difference',
    'needs',
    'setting',
    'config',
    'pruner',
    'schedule',
    *STATISTICS,
)


def screen_table(table: FilledTable) -> ScreenTable:
    """For a terminal, in the style of every other table of this project; no title, no notes.

    The title may be longer than the table is wide, which would break it.
    """
    headings, columns = shown(table)
    heads = [_broken(heading) for heading in headings]
    names = [row.label for row in table.table.rows]
    return table_of_texts(table.table.first, names, heads, columns, '', '')


def table_title(table: FilledTable) -> str:
    """Name and title."""
    return f'{table.table.name}: {table.table.title}'


def markdown_text(table: FilledTable, facts: Mapping[str, Any]) -> str:
    """For GitHub, with how it was made."""
    headings, columns = shown(table)
    names = [row.label for row in table.table.rows]
    lines = [
        f'### {table_title(table)}',
        '',
        *markdown_table([table.table.first, *headings], [names, *columns]),
        '',
        *(f'- {line}' for line in table.notes()),
        '',
        *(f'- {line}' for line in fact_lines(facts)),
    ]
    return '\n'.join(lines) + '\n'


def latex_text(table: FilledTable, facts: Mapping[str, Any]) -> str:
    """For LaTeX with booktabs and graphicx; how it was made stands in comments."""
    headings, columns = shown(table)
    names = [row.label for row in table.table.rows]
    return latex_table(
        [table.table.first, *headings],
        [names, *columns],
        caption=table_title(table),
        label=f'tab:{table.table.name}',
        notes=table.notes(),
        comments=fact_lines(facts),
    )


def csv_text(table: FilledTable) -> str:
    """A line per cell; nothing where there is nothing."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator='\n')
    writer.writeheader()
    for record in records(table):
        record['pruner'] = json.dumps(record['pruner']) if record['pruner'] else ''
        record['schedule'] = json.dumps(record['schedule']) if record['config'] else ''
        writer.writerow(record)
    return buffer.getvalue()


def json_text(table: FilledTable, facts: Mapping[str, Any]) -> str:
    """Everything, cell by cell."""
    content = {
        'table': table.table.name,
        'title': table.table.title,
        'smoke': table.is_smoke,
        'environment': dict(facts),
        'notes': table.notes(),
        'cells': list(records(table)),
    }
    return json.dumps(content, indent=2, allow_nan=False) + '\n'


def records(table: FilledTable) -> Iterator[dict[str, Any]]:
    """A dict per cell that holds or wants a number, under FIELDS."""
    for place in table.places():
        if place.filled.cell.published is not None or place.filled.cell.quantity:
            yield {'table': table.table.name, **_record(place)}


def fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """How a table was made, a line each."""
    versions = ', '.join(f'{k} {v}' for k, v in facts['versions'].items() if v is not None)
    return [f'command: {facts["command"]}', f'{facts["time_utc"]}, {facts["hardware"]}; {versions}']


def _record(place: Place) -> dict[str, Any]:
    row, column, filled = place
    experiment = filled.cell.experiment
    setting = experiment and experiment.setting
    return {
        'row': row.label,
        'column': column.heading,
        'quantity': filled.cell.quantity,
        'published': filled.cell.published,
        'ours': filled.ours,
        'difference': filled.difference if column.comparable else None,
        'needs': filled.needs,
        'setting': setting.name if setting else None,
        'config': f'configs/{setting.config}.py' if setting else None,
        'pruner': dict(experiment.pruner) if experiment else None,
        'schedule': config_schedule(experiment) if experiment else None,
        **{name: getattr(filled.row, name, None) for name in STATISTICS},
    }


def _broken(heading: str) -> str:
    """A heading on two lines or more: what it is, whose it is."""
    what, comma, whose = heading.rpartition(', ')
    lines = what.replace(' ', '\n').replace('/view', '\n/view')
    return f'{lines}\n{whose}' if comma else f'\n{heading}'
