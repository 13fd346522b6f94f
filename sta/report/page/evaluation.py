"""What results.json says, checked, as the rows that tables and plots take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from sta.errors import DataError
from sta.evaluation import LeftOut, SummaryRow

from ..results_folder import is_number, no_number


class Evaluation(NamedTuple):
    """What is known of an evaluation from its results.json.

    Attributes:
        rows: a line per variant.
        settings: of every variant: name, pruner and schedule.
        facts: command, config, versions and so on.
        note: the footer of the table.
        left_out: videos that could not be decoded.
    """

    rows: tuple[SummaryRow, ...]
    settings: tuple[dict[str, Any], ...]
    facts: dict[str, Any]
    note: str
    left_out: tuple[LeftOut, ...]


def read_evaluation(folder: Path) -> Evaluation:
    """Read results.json.

    Raises:
        DataError: it is not there, or not what tools/test.py writes.
    """
    path = Path(folder) / 'results.json'
    if not path.is_file():
        raise DataError(f'{folder} holds no results.json: give a folder that tools/test.py wrote')
    try:
        found = json.loads(path.read_text(encoding='utf-8'), parse_constant=no_number)
        return Evaluation(
            rows=tuple(_row(row) for row in found['rows']),
            settings=tuple(found['variants']),
            facts=dict(found['environment']),
            note=str(found['note']),
            left_out=tuple(LeftOut(**video) for video in found['left_out']),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise DataError(
            f'{path} is not what this version of tools/test.py writes: {reason}'
        ) from None


def _row(found: dict[str, Any]) -> SummaryRow:
    """A row; JSON has no NaN, which a speed that nobody measured is.

    Raises:
        ValueError: another number is not one.
    """
    values = {}
    for field in dataclasses.fields(SummaryRow):
        value = found.get(field.name, field.default)
        if value is None and field.name == 'clips_per_s':
            value = float('nan')
        elif field.type == 'float' and not is_number(value):
            raise ValueError(f'{field.name} of {found.get("name")} is {value!r}, not a number')
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return SummaryRow(**values)
