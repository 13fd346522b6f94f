"""Read the csv and json files of other people, and say clearly what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError


class Row(NamedTuple):
    """A row of a csv file: number of its line, from 1, and its cells without blanks around."""

    line: int
    cells: tuple[str, ...]


def read_text(path: str | os.PathLike) -> str:
    """A text file, without a byte order mark.

    Raises:
        DataError: no such file, a folder, unreadable, or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not UTF-8 text: {error.reason} at byte {error.start}') from None
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror or error}') from None


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
    except json.JSONDecodeError as error:
        raise DataError(f'{path} is no json: {error}') from None
