"""What an evaluation found as text: JSON and CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sta.evaluation import EvaluationResult, LeftOut, SummaryRow, shown_rows

from .columns import COLUMNS, GFLOP_NOTE, footer


def json_text(result: EvaluationResult, rows: Sequence[SummaryRow], facts: Mapping) -> str:
    """Rows, the settings of every variant, and how they were made; strict JSON.

    Args:
        result: what was found.
        rows: its summary.
        facts: command, config, versions and so on, see :func:`sta.report.write_results`.
    """
    variants = [
        {
            'name': v.variant.name,
            'pruner': v.variant.pruner,
            'schedule': v.variant.schedule,
            'num_tokens': v.cost.num_tokens,
            'num_parameters': v.cost.num_parameters,
        }
        for v in result.variants
    ]
    left_out = [video._asdict() for video in result.left_out]
    found = {
        'environment': facts,
        'units': GFLOP_NOTE,
        'variants': variants,
        'rows': rows,
        'note': footer(result, rows),
        'left_out': left_out,
        'not_finite': [video._asdict() for video in result.not_finite],
    }
    return json.dumps(_plain(found), indent=2, allow_nan=False) + '\n'


def csv_text(rows: Sequence[SummaryRow]) -> str:
    """A line per row under the attribute names of SummaryRow; nothing where undefined."""
    names = [field.name for field in dataclasses.fields(SummaryRow)]
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator='\n')
    table.writerow(names)
    for row in _plain(list(rows)):
        for name in ('tokens_after_stages', 'averages'):
            row[name] = ' '.join(map(str, row[name]))
        table.writerow([row[name] for name in names])  # None is written as an empty field
    return buffer.getvalue()


def markdown_text(
    result: EvaluationResult, rows: Sequence[SummaryRow], facts: Mapping[str, Any]
) -> str:
    """The table of the screen for GitHub, its footer, and how it was made."""
    shown = shown_rows(rows)
    names = [row.name for row in shown]
    columns = [column.cells(shown) for column in COLUMNS]
    headings = ['variant', *(column.heading for column in COLUMNS)]
    versions = ', '.join(f'{k} {v}' for k, v in facts['versions'].items() if v is not None)
    lines = [
        *markdown_table(headings, [names, *columns]),
        '',
        footer(result, rows),
        '',
        f'Config `{facts["config"]}`, checkpoint `{facts["checkpoint"] or "none"}`,',
        f'{facts["time_utc"]}; commit {facts.get("commit") or "unknown"}; {versions}.',
        *_data_line(facts),
        '',
        '```',
        facts['command'],
        '```',
    ]
    return '\n'.join(lines) + '\n'


def _data_line(facts: Mapping[str, Any]) -> list[str]:
    if not facts.get('annotations'):
        return []
    digest = facts.get('fingerprint', {}).get('videos', 'unknown')
    return [
        f'Data: {facts["num_videos"]} of {facts["num_listed"]} videos of `{facts["annotations"]}`, '
        f'fingerprint {digest}.'
    ]


def left_out_text(result: EvaluationResult) -> str:
    """CSV of the videos that could not be decoded: name, label, reason."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator='\n')
    table.writerow(LeftOut._fields)
    table.writerows(result.left_out)
    return buffer.getvalue()


def markdown_table(headings: Sequence[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: names to the left, numbers to the right.

    Args:
        headings: one a column.
        columns: cells of each, all of one length; the first column holds the names.
    """
    escaped = [
        [cell.replace('\\', '\\\\').replace('|', '\\|') for cell in cells] for cells in columns
    ]
    rows = [headings, ['---', *('---:' for _ in headings[1:])], *zip(*escaped, strict=True)]
    return [f'| {" | ".join(cells)} |' for cells in rows]


def _plain(value: Any) -> Any:
    """Nested settings as JSON knows them; NaN and infinity, which it does not, become null."""
    if dataclasses.is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
