"""The tables of the page as texts: results, classes, data, settings."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

from sta.evaluation import shown_rows

from ..columns import COLUMNS
from .evaluation import Evaluation


class Table(NamedTuple):
    """A table that can be sorted.

    Attributes:
        caption: above it.
        heads: of the columns.
        lines: a row name and texts of numbers each.
    """

    caption: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def results_table(found: Evaluation) -> Table:
    """The table of the screen."""
    rows = shown_rows(found.rows)
    cells = [column.cells(rows) for column in COLUMNS]
    names = [row.name for row in rows]
    heads = ('variant', *(column.heading for column in COLUMNS))
    return Table('Accuracy and cost', heads, tuple(zip(names, *cells, strict=True)))


def classes_table(path: Path) -> Table | None:
    """Top-1 of every class; None where there is no classes.csv."""
    if not path.is_file():
        return None
    with path.open(encoding='utf-8', newline='') as file:
        heads, *lines = csv.reader(file)
    shown = [(name, videos, *map(_one_decimal, cells)) for _, name, videos, *cells in lines]
    variants = (head.partition(':')[2] for head in heads[3:])
    return Table('Top-1 by class (%)', ('class', 'videos', *variants), tuple(shown))


def data_facts(found: Evaluation) -> list[tuple[str, str]]:
    """Which videos the figures are of: list, number, and digests by which two runs can be told."""
    facts = found.facts
    listed = facts.get('num_listed', facts['num_videos'])
    lines = [
        ('annotation file', str(facts.get('annotations') or 'not recorded')),
        ('videos', f'{facts["num_videos"]} of {listed}'),
        ('views per video', str(facts.get('views_per_video', 'not recorded'))),
    ]
    digests = facts.get('fingerprint') or {}
    return lines + [(f'fingerprint of {name}', str(value)) for name, value in digests.items()]


def flat_facts(facts: dict[str, Any], before: str = '') -> list[tuple[str, str]]:
    """Nested facts as lines: 'versions, torch' and its value."""
    lines: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f'{before}{key}'.replace('_', ' ')
        if isinstance(value, dict) and value:
            lines += flat_facts(value, f'{name}, ')
        elif value is not None:
            lines.append((name, f'{value:.3g}' if isinstance(value, float) else str(value)))
    return lines


def _one_decimal(cell: str) -> str:
    return f'{float(cell):.1f}' if cell else 'n/a'
