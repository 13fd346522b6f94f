"""What was measured, by experiment, and what a cell says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sta.evaluation import Cost, SummaryRow

from .experiment import ACCURACIES, COSTS, SPEED, TRAINING, TRAJECTORY, Cell, Experiment
from .inputs import Inputs

THROUGHPUT_OPTION = '--throughput'


class Filled(NamedTuple):
    """A cell with our number.

    Attributes:
        cell: what was asked for.
        ours: our number or words; None where nothing was measured.
        needs: what is missing for it; '' where there is nothing to measure, or it was.
        row: the evaluation it comes from, for statistics.
    """

    cell: Cell
    ours: float | str | None = None
    needs: str = ''
    row: SummaryRow | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the published number; None unless both are numbers."""
        if self.cell.published is None or not isinstance(self.ours, int | float):
            return None
        return self.ours - self.cell.published


@dataclass
class Findings:
    """Everything measured so far.

    Attributes:
        costs: of every experiment.
        stages: drops per chunk and places of every experiment, in words.
        accuracies: a row of each evaluated experiment.
        speeds: clips/s.
        trajectory_sums: means over the videos.
        footers: under which conditions each setting was evaluated, by its name.
        trajectory_needs: what the trajectory sums lack beside weights and data.
    """

    costs: dict[Experiment, Cost] = field(default_factory=dict)
    stages: dict[Experiment, str] = field(default_factory=dict)
    accuracies: dict[Experiment, SummaryRow] = field(default_factory=dict)
    speeds: dict[Experiment, float] = field(default_factory=dict)
    trajectory_sums: dict[Experiment, float] = field(default_factory=dict)
    footers: dict[str, str] = field(default_factory=dict)
    trajectory_needs: str = ''

    def fill(self, cell: Cell, inputs: Inputs) -> Filled:
        """Our number for a cell, or what it needs."""
        experiment = cell.experiment
        if not cell.quantity or experiment is None:
            return Filled(cell)
        if cell.quantity in COSTS:
            return Filled(cell, self._cost(cell.quantity, experiment))
        if cell.quantity in ACCURACIES:
            row = self.accuracies.get(experiment)
            if row is None:
                return Filled(cell, needs=inputs.missing(experiment.setting))
            return Filled(cell, getattr(row, f'{cell.quantity}_percent'), row=row)
        if cell.quantity == TRAJECTORY:
            parts = [inputs.missing(experiment.setting), self.trajectory_needs]
            needs = ' + '.join(part for part in parts if part)
            return _found(cell, self.trajectory_sums, needs)
        if cell.quantity == SPEED:
            return _found(cell, self.speeds, THROUGHPUT_OPTION)
        return Filled(cell, needs=TRAINING)

    def _cost(self, quantity: str, experiment: Experiment) -> float | str:
        cost = self.costs[experiment]
        if quantity == 'stages':
            return self.stages[experiment]
        if quantity == 'gflops':
            return cost.gflops_per_view
        if quantity == 'parameters':
            return cost.num_parameters / 1e6
        return ' '.join(map(str, cost.tokens_after_stages or (cost.num_tokens,)))


def _found(cell: Cell, values: Mapping[Experiment, float], needs: str) -> Filled:
    if cell.experiment in values:
        return Filled(cell, values[cell.experiment])
    return Filled(cell, needs=needs)
