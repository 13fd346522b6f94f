"""From tables that were asked for to tables that are filled and written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sta.errors import ConfigError

from .costs import add_costs
from .experiment import ACCURACIES, TRAJECTORY, Table
from .files import write_tables
from .findings import Findings
from .inputs import Inputs, find_inputs, legend
from .results import FilledTable, fill_table
from .runs import RunOptions, add_accuracies, plan_runs
from .smoke import smoke_inputs, smoke_table
from .speed import add_speeds
from .trajectory import add_trajectory_sums


@dataclass(frozen=True)
class Request:
    """What is to be reproduced, from what.

    Attributes:
        tables: which.
        root: of the repository.
        checkpoints: folder of weights; None evaluates nothing.
        data: folder of data sets; None is data/.
        out: where to; None is a folder in work_dirs/.
        is_smoke: on the embedded models and videos.
        with_throughput: also time the models.
        precision: of evaluations, 'fp32', 'bf16' or 'fp16'.
        command: the command line, for the files.
    """

    tables: tuple[Table, ...]
    root: Path
    checkpoints: Path | None = None
    data: Path | None = None
    out: Path | None = None
    is_smoke: bool = False
    with_throughput: bool = False
    precision: str = 'fp32'
    command: str = ''

    @property
    def folder(self) -> Path:
        """Where to write."""
        return self.out or Path('work_dirs', 'paper_smoke' if self.is_smoke else 'paper')

    def inputs(self) -> Inputs:
        """What there is of what the tables need.

        Raises:
            CheckpointError, DataError: see :func:`find_inputs`.
            ConfigError: folders beside a smoke run, which brings its own.
        """
        if self.is_smoke:
            if self.checkpoints is not None or self.data is not None:
                raise ConfigError(
                    '--smoke brings its own models and videos: leave --checkpoints and --data away'
                )
            return smoke_inputs(self.root)
        settings = list(plan_runs(self.tables, (*ACCURACIES, TRAJECTORY)))
        return find_inputs(self.root, self.checkpoints, self.data, settings)


def reproduce(request: Request, inputs: Inputs) -> tuple[list[FilledTable], list[Path]]:
    """Measure what can be measured, fill the tables and write them.

    Returns:
        The tables, and the files; no files in other processes than the first.

    Raises:
        CheckpointError, ConfigError, DataError, ScheduleError, StoreError: as tools/test.py.
        OSError: the folder cannot be written.
    """
    tables = request.tables
    if request.is_smoke:
        tables = tuple(smoke_table(table) for table in tables)
    findings = Findings()
    options = RunOptions(request.folder / 'runs', request.command, request.precision)
    add_costs(findings, [c.experiment for t in tables for c in t.cells() if c.experiment], inputs)
    add_accuracies(findings, tables, inputs, options)
    add_trajectory_sums(findings, tables, inputs, options)
    if request.with_throughput:
        add_speeds(findings, tables, inputs)
    filled = [fill_table(t, findings, inputs, is_smoke=request.is_smoke) for t in tables]
    if int(os.environ.get('RANK', 0)) != 0:
        return filled, []
    return filled, write_tables(filled, request.folder, request.command)


def legend_of(tables: Sequence[FilledTable], inputs: Inputs) -> list[str]:
    """Where the files are expected that the tables lack; nothing where they lack none."""
    settings = plan_runs([table.table for table in tables], (*ACCURACIES, TRAJECTORY))
    lacking = [setting for setting in settings if inputs.missing(setting)]
    return legend(inputs, lacking) if lacking else []
