"""How far a sweep is, and its merged tables, plots and report; works while it still runs.

python tools/collect.py work_dirs/sweeps/motions --watch
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('folder', type=Path, metavar='SWEEP_DIR')
    parser.add_argument('--watch', action='store_true', help='until nothing runs any more')
    parser.add_argument(
        '--every', type=float, default=30.0, metavar='S', help='seconds between looks; default 30'
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from rich.console import Console

    from sta.engine.cli import run_command
    from sta.errors import ConfigError
    from sta.report.table import GFLOP_NOTE, print_table
    from sta.sweeps.collect import (
        Collected,
        collect,
        failure_lines,
        screen_tables,
        states_table,
        summary_line,
    )

A_DAY = 86_400  # seconds


def run(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.every <= A_DAY:
        raise ConfigError(
            f'--every must be positive and at most a day, {A_DAY} s, got {arguments.every:g}'
        )
    found, shown = collect(arguments.folder), ''
    while arguments.watch and found.is_going_on:
        if (line := summary_line(found.states)) != shown:
            shown = line
            Console().clear()  # nothing in a log file
            print_table(states_table(found.states, found.manifest.name))
        time.sleep(arguments.every)
        found = collect(arguments.folder)
    show(found, arguments.folder)
    return int(found.has_failed)


def show(found: Collected, folder: Path) -> None:
    """Everything, once."""
    print_table(states_table(found.states, found.manifest.name))
    for line in failure_lines(found.states):
        print(line)
    for line in found.problems:
        print(f'cannot be merged: {line}')
    for table in screen_tables(found.found):
        print()
        print_table(table)
    if found.found:
        print(f'{GFLOP_NOTE} What the columns mean stands in report.html.')
    print(f'written to {folder}: {", ".join(path.name for path in found.written)}')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
