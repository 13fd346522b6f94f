"""Everything that needs no weights, counted once on the real configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.paper import Table, build_tables
from sta.paper.inputs import Inputs
from sta.paper.measure import Request, measure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def nothing() -> Inputs:
    return Inputs(ROOT, {}, Path('nowhere'))


@pytest.fixture(scope='session')
def filled(nothing: Inputs) -> dict[str, Table]:
    """All tables with neither weights nor data."""
    request = Request(tuple(build_tables(['all'])), ROOT)
    return {table.name: table for table in measure(request, nothing)}
