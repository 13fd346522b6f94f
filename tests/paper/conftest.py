"""Everything that needs no weights, counted once on the real configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.paper import build_tables
from sta.paper.costs import add_costs
from sta.paper.findings import Findings
from sta.paper.inputs import Inputs
from sta.paper.results import FilledTable, fill_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def nothing() -> Inputs:
    return Inputs(ROOT, {}, Path('nowhere'))


@pytest.fixture(scope='session')
def filled(nothing: Inputs) -> dict[str, FilledTable]:
    """All tables with neither weights nor data."""
    findings, tables = Findings(trajectory_needs='trajectories'), build_tables(['all'])
    add_costs(findings, [c.experiment for t in tables for c in t.cells() if c.experiment], nothing)
    return {t.name: fill_table(t, findings, nothing, is_smoke=False) for t in tables}
