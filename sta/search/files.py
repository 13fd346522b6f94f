"""What a search leaves in its folder: a config that runs the schedule found, and how it was."""

from __future__ import annotations

import json
import os
import pprint
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sta.atomic import check_folder, write_text
from sta.engine.config import ConfigError

from .space import Stages
from .study import Found

_CONFIG = """\
# Found by
#   {command}
# {found}
{listed}_base_ = {base!r}
{overrides}test_cfg = dict(
{settings}    schedules=[
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

_NONE_LEFT = """\
# It evaluates the whole test list, every video of which was searched on.
"""

_WHOLE_LIST = """\
# It evaluates the whole test list, the videos that were searched on included, unless run with
#   --cfg-options test_dataloader.dataset.ann_file={heldout}
"""


def prepare_folder(path: Path) -> Path:
    """Make a folder, and see that it can be written.

    Raises:
        ConfigError: it is a file, cannot be made, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f'--out {path} is a file: name a folder')
    try:
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        return path
    except OSError as error:
        raise ConfigError(f'--out {path} cannot be written: {error.strerror or error}') from None


def write_config(
    path: Path,
    *,
    base: str,
    stages: Stages,
    paper: Any,
    pruner: Mapping[str, Any],
    command: str,
    found: str,
    overrides: Mapping[str, Any],
    heldout: Path | None,
    all_searched: bool = False,
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
        overrides: of the base, see :func:`sta.search.overrides.overrides_of`.
        heldout: list of the videos that were not searched on; None where that is the test list, or
            nothing.
        all_searched: whether it is nothing.

    Raises:
        OSError: it cannot be written.
    """
    rows = []
    for stage in stages:
        rows.append(f'                dict({", ".join(f"{k}={v!r}" for k, v in stage.items())}),')
    base = Path(os.path.relpath(Path(base).resolve(), path.resolve().parent)).as_posix()
    listed = _NONE_LEFT if all_searched else ''
    if heldout is not None:
        listed = _WHOLE_LIST.format(heldout=shlex.quote(str(heldout)))
    others, settings = _written(overrides)
    text = _CONFIG.format(
        command=command,
        found=found,
        listed=listed,
        base=base,
        overrides=others,
        settings=settings,
        paper=paper,
        stages='\n'.join(rows),
        pruner=dict(pruner),
    )
    write_text(path, text)


def _written(overrides: Mapping[str, Any]) -> tuple[str, str]:
    """Lines of all keys but test_cfg, and the line within it; its variants are the search's own."""
    lines = [
        f'{key} = {pprint.pformat(value, width=100, sort_dicts=False)}\n'
        for key, value in overrides.items()
        if key != 'test_cfg'
    ]
    own = ('schedules', 'pruners')
    settings = {k: v for k, v in overrides.get('test_cfg', {}).items() if k not in own}
    return ''.join(lines), f'    **{settings!r},\n' if settings else ''


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
    write_text(path, json.dumps(told, indent=2, allow_nan=False) + '\n')
