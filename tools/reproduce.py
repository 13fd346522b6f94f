"""The paper's tables, every published number beside ours.

python tools/reproduce.py table2 table3
python tools/reproduce.py all --checkpoints DIR --data DIR
python tools/reproduce.py all --smoke
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        'tables',
        nargs='*',
        default=['all'],
        metavar='TABLE',
        help='table1, table2, table3, table4, table5, table6a, table6b, table6c, table6d, table6e, '
        'fig5, supp1, supp2, supp3, table6 or all (default)',
    )
    parser.add_argument('--checkpoints', type=Path, metavar='DIR', help='folder of weights')
    parser.add_argument(
        '--data', type=Path, metavar='DIR', help='kinetics400/ and sthv2/; default data'
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='default work_dirs/paper, or work_dirs/paper_smoke'
    )
    parser.add_argument(
        '--smoke', action='store_true', help='small models and embedded videos: does all of it run?'
    )
    parser.add_argument(
        '--throughput', action='store_true', help='also measure clips/s on this machine'
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--amp', choices=('bf16', 'fp16'), help='autocast; default float32')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.atomic import check_folder
    from sta.engine import start_processes
    from sta.engine.command_line import run_command
    from sta.engine.session import say
    from sta.paper import build_tables
    from sta.paper.measure import Request
    from sta.paper.reproduce import (
        legend_of,
        notes_of,
        on_screen,
        reproduce,
        title_of,
    )
    from sta.report import print_table

ROOT = Path(__file__).resolve().parents[1]


def run(arguments: argparse.Namespace, command: str) -> None:
    request = Request(
        tables=tuple(build_tables(arguments.tables)),
        root=ROOT,
        checkpoints=arguments.checkpoints,
        data=arguments.data,
        out=arguments.out,
        is_smoke=arguments.smoke,
        with_throughput=arguments.throughput,
        precision=arguments.amp or 'fp32',
        command=command,
    )
    inputs = request.inputs()
    check_folder(request.folder, '--out')
    start_processes(arguments.launcher)
    filled, written = reproduce(request, inputs)
    if not written:  # another process prints
        return
    for table in filled:
        print(title_of(table))
        print_table(on_screen(table))
        print(*notes_of(table), '', sep='\n')
    for line in legend_of(filled, inputs):
        print(line)
    say(f'written to {request.folder}: {", ".join(path.name for path in written)}')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/reproduce.py ' + shlex.join(words)
    return run_command(lambda: run(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
