"""Write filled tables."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sta import __version__
from sta.atomic import write_text
from sta.engine.variant_loop import describe_hardware
from sta.environment import distribution_version
from sta.report.plots import save_figure
from sta.report.writers import LIBRARIES

from .figure import plot_fig5
from .results import FilledTable
from .texts import csv_text, json_text, latex_text, markdown_text


def environment(command: str) -> dict[str, Any]:
    """What a number's reader must know of how it was made."""
    versions = {name: distribution_version(name) for name in LIBRARIES}
    return {
        'command': command,
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'hardware': describe_hardware(),
        'versions': {'sta': __version__, 'python': platform.python_version(), **versions},
    }


def write_tables(tables: Sequence[FilledTable], folder: Path, command: str) -> list[Path]:
    """Write every table as .md, .tex, .csv and .json, and Figure 5 as a picture as well.

    Returns:
        The files.

    Raises:
        OSError: the folder cannot be written.
    """
    facts, paths = environment(command), []
    for table in tables:
        texts = {
            'md': markdown_text(table, facts),
            'tex': latex_text(table, facts),
            'csv': csv_text(table),
            'json': json_text(table, facts),
        }
        for suffix, text in texts.items():
            paths.append(folder / f'{table.table.name}.{suffix}')
            write_text(paths[-1], text)
        if table.table.name == 'fig5':
            paths += save_figure(plot_fig5(table), folder, 'fig5')
    return paths
