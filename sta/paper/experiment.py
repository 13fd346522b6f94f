"""What a table of the paper is made of: settings, experiments, and cells that point to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sta.pruning import PruningStage, Variant, expand_variants

# What a cell can ask for; the rest of a table's numbers are only quoted.
COSTS = ('gflops', 'tokens', 'parameters', 'stages')
ACCURACIES = ('top1', 'top5')
SPEED, TRAJECTORY, TRAINING = 'clips_per_s', 'trajectory_sum', 'training'


@dataclass(frozen=True)
class Setting:
    """A model on a data set under views: what one pass over the data evaluates.

    Attributes:
        name: unique, 'vit_l_k400_5x3'.
        model: as the paper calls it, 'ViT-L' or 'VideoSwin-B'.
        dataset: whose protocol the views follow, 'k400' or 'ssv2'.
        config: name of the file in configs/, without .py.
        checkpoint: name of the weights, see :mod:`sta.paper.inputs`: 'vit_l_k400'.
        clips: temporal clips of a video.
        crops: spatial crops of each.
    """

    name: str
    model: str
    dataset: str
    config: str
    checkpoint: str
    clips: int
    crops: int


@dataclass(frozen=True)
class Experiment:
    """One variant in one setting.

    Attributes:
        setting: model, data and views.
        schedule: the paper's r or r1, where 0 drops nothing; or stages of a ViT; or a VideoSwin's
            drops per frame behind each merging.
        label: what variants call stages; '' where ``schedule`` is made of numbers.
        pruner: settings of the pruner as sorted pairs, e.g. (('type', 'STAPruner'),).
    """

    setting: Setting
    schedule: int | tuple[PruningStage, ...] | tuple[int, ...]
    label: str = ''
    pruner: tuple[tuple[str, Any], ...] = (('type', 'STAPruner'),)


@dataclass(frozen=True)
class Cell:
    """A published number and what to measure beside it.

    Attributes:
        published: as printed in the paper; None where it says nothing.
        quantity: one of COSTS, ACCURACIES, 'clips_per_s', 'trajectory_sum' or 'training'; '' for a
            number of others, or no number.
        experiment: what to measure it on.
    """

    published: float | None = None
    quantity: str = ''
    experiment: Experiment | None = None


@dataclass(frozen=True)
class Column:
    """A column of cells.

    Attributes:
        heading: with the unit.
        decimals: shown of our numbers.
        comparable: whether the difference from the published number means anything; speeds of
            different machines differ by the machine.
    """

    heading: str
    decimals: int = 2
    comparable: bool = True


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        label: its name.
        cells: one per column.
    """

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper.

    Attributes:
        name: as typed on the command line, 'table2'.
        title: what it shows.
        first: heading of the rows.
        columns: headings.
        rows: lines.
        notes: what a reader must know, a sentence or two each.
    """

    name: str
    title: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def cells(self) -> list[Cell]:
        """All of them, row by row."""
        return [cell for row in self.rows for cell in row.cells]


def config_schedule(experiment: Experiment) -> Any:
    """The schedule as test_cfg of a config takes it."""
    if isinstance(experiment.schedule, int):
        return experiment.schedule
    if all(isinstance(drop, int) for drop in experiment.schedule):
        return list(experiment.schedule)
    stages = [
        dict(
            after_block=stage.after_block,
            num_chunks=stage.num_chunks,
            num_drop=stage.num_drop,
            backward=stage.backward,
        )
        for stage in experiment.schedule
    ]
    return dict(name=experiment.label, schedule=stages)


def config_pruners(experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """The pruners of a test_cfg that evaluates these experiments, each with its schedules."""
    grouped: dict[tuple, list[Any]] = {}
    for experiment in experiments:
        grouped.setdefault(experiment.pruner, []).append(config_schedule(experiment))
    return [{**dict(pruner), 'schedules': schedules} for pruner, schedules in grouped.items()]


def variant_of(experiment: Experiment) -> Variant:
    """The variant that the engine makes of an experiment."""
    [variant] = expand_variants(None, config_pruners([experiment]))
    return variant
