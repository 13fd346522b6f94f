"""What a search leaves: a config that runs the schedule it found, and how it was found."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sta.report.atomic import write_text

from .space import Stages
from .study import Found

_CONFIG = """\
# Found by
#   {command}
# {found}
_base_ = {base!r}
test_cfg = dict(
    schedules=[
        0,
        dict(name='paper', schedule={paper!r}),
        dict(
            name='searched',
            schedule=[
{stages}
            ],
        ),
    ],
    pruners=[{pruner!r}],
)
"""


def write_config(
    path: Path,
    *,
    base: str,
    stages: Stages,
    paper: Any,
    pruner: Mapping[str, Any],
    command: str,
    found: str,
) -> None:
    """Write a config that evaluates no pruning, the paper's schedule and the one found.

    Args:
        path: of the new config.
        base: config that was searched for; named relative to the new one.
        stages: the schedule found.
        paper: the paper's schedule of the same cost.
        pruner: settings.
        command: that made it.
        found: what it is, in a line.

    Raises:
        OSError: it cannot be written.
    """
    rows = []
    for stage in stages:
        rows.append(f'                dict({", ".join(f"{k}={v!r}" for k, v in stage.items())}),')
    relative = Path(os.path.relpath(Path(base).resolve(), path.resolve().parent)).as_posix()
    write_text(
        path,
        _CONFIG.format(
            command=command,
            found=found,
            base=relative,
            paper=paper,
            stages='\n'.join(rows),
            pruner=dict(pruner),
        ),
    )


def write_search(path: Path, found: Found, facts: Mapping[str, Any]) -> None:
    """Write what was found, and how, as JSON.

    Raises:
        OSError: it cannot be written.
    """
    paper = None if found.paper_distance is None else found.paper_distance._asdict()
    told = {
        **facts,
        'stages': found.stages,
        'gflops_per_view': found.gflops_per_view,
        'num_trials': found.num_trials,
        'searched': found.distance._asdict(),
        'paper': paper,
    }
    write_text(path, json.dumps(told, indent=2) + '\n')


def write_list(path: Path, entries: Sequence[tuple[str, int]]) -> None:
    """Write an annotation list.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, ''.join(f'{name} {label}\n' for name, label in entries))
