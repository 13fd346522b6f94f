"""Read the csv and json files of other people, and say clearly what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from typing import Any, NamedTuple

from sta.errors import DataError

from ..annotations import read_text


class Row(NamedTuple):
    """A row of a csv file: number of its line, from 1, and its cells without blanks around."""

    line: int
    cells: tuple[str, ...]


def read_table(path: str | os.PathLike) -> list[Row]:
    """Rows of a csv file that are not empty; fields end at commas, semicolons or tabs.

    Raises:
        DataError: see :func:`read_text`; or it is empty or no csv.
    """
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), '')
    # Spreadsheets separate by semicolons where the comma is the decimal point.
    unquoted = re.sub('"[^"]*"', '', first)
    delimiter = next((mark for mark in '\t;' if mark in unquoted), ',')
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [Row(reader.line_num, tuple(map(str.strip, cells))) for cells in reader]
    except csv.Error as error:
        raise DataError(f'{path}, line {reader.line_num} is no csv: {error}') from None
    rows = [row for row in rows if any(row.cells)]
    if not rows:
        raise DataError(f'{path} is empty')
    return rows


def read_json(path: str | os.PathLike) -> Any:
    """What a json file holds.

    Raises:
        DataError: see :func:`read_text`; or it is no json.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f'{path} is no json: {error}') from None
