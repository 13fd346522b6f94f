"""What a sweep evaluates: configs with checkpoints, cut into shards, which are its elements."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sta.engine.loop import WHOLE, Shard
from sta.start import find_path

EXECUTORS = ('local', 'slurm')


@dataclass(frozen=True)
class Evaluation:
    """A config with a checkpoint; all its variants are evaluated in one pass over the data.

    Attributes:
        name: unique in the sweep, and a name for a folder.
        config: path.
        checkpoint: path.
        options: of tools/test.py that change the scores, as typed.
        shards: elements it is cut into.
        processes: of each element.
    """

    name: str
    config: str
    checkpoint: str
    options: tuple[str, ...] = ()
    shards: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Resources:
    """What an element gets, and where it runs.

    Attributes:
        executor: 'local' or 'slurm'.
        partition: of SLURM.
        gpus_per_task: of an element; None asks the partition or the machine.
        cpus_per_task: of an element.
        minutes: time limit of an attempt; None for none.
        max_parallel: elements that run at once.
        slurm: further options of sbatch, without dashes.
    """

    executor: str = 'local'
    partition: str | None = None
    gpus_per_task: int | None = None
    cpus_per_task: int | None = None
    minutes: int | None = None
    max_parallel: int | None = None
    slurm: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """Everything a command line or a YAML file asks for.

    Attributes:
        name: of the folder, if none is given.
        evaluations: in the order of the tables.
        resources: where and how they run.
    """

    name: str
    evaluations: tuple[Evaluation, ...]
    resources: Resources


@dataclass(frozen=True)
class Element:
    """One job: a shard of an evaluation.

    Attributes:
        evaluation: what is evaluated.
        shard: the part of its list.
        folder: where it writes.
    """

    evaluation: Evaluation
    shard: Shard
    folder: Path

    @property
    def name(self) -> str:
        """'vit', or 'vit 2/4' where there are several shards."""
        evaluation = self.evaluation.name
        return evaluation if self.shard == WHOLE else f'{evaluation} {self.shard}'

    def arguments(self) -> list[str]:
        """Of tools/test.py."""
        shard = [] if self.shard == WHOLE else ['--shard', str(self.shard)]
        launcher = [] if self.evaluation.processes == 1 else ['--launcher', 'pytorch']
        return [
            self.evaluation.config,
            self.evaluation.checkpoint,
            *self.evaluation.options,
            *('--work-dir', str(self.folder)),
            *shard,
            *launcher,
        ]

    def command(self, tool: Path, python: str = sys.executable) -> list[str]:
        """The words that run it.

        Args:
            tool: tools/test.py.
            python: an interpreter.
        """
        start = [python]
        if self.evaluation.processes > 1:
            # Alone on its node, so torch may look for a free port itself.
            start += ['-m', 'torch.distributed.run', '--standalone']
            start += ['--nproc_per_node', str(self.evaluation.processes)]
        return [*start, str(tool), *self.arguments()]

    def typed(self) -> str:
        """The command to run it again by hand, from here."""
        return shlex.join(self.command(Path(find_path('tools/test.py')), 'python'))


def elements_of(evaluations: Sequence[Evaluation], folder: Path) -> list[Element]:
    """All elements of a sweep, shard by shard.

    Args:
        evaluations: of the sweep.
        folder: of the sweep.
    """
    return [
        Element(
            one,
            Shard(number, one.shards),
            folder / 'elements' / one.name / f'{number}of{one.shards}',
        )
        for one in evaluations
        for number in range(1, one.shards + 1)
    ]
