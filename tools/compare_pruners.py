"""One pruner against all others of an evaluation at nearest cost, with paired statistics.

python tools/compare_pruners.py work_dirs/sta_vit_k400/20260101_120000 --with sta
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('folder', type=Path, help='what tools/test.py wrote')
    parser.add_argument('--with', dest='family', default='sta', help='default %(default)s')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write the figures')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.atomic import check_target, write_text
    from sta.engine.cli import run_command
    from sta.report import print_table
    from sta.report.versus import compare_families, versus_table


def compare(arguments: argparse.Namespace) -> None:
    if arguments.csv:
        check_target(arguments.csv, '--csv')
    found = compare_families(arguments.folder, arguments.family)
    table = versus_table(found, family=arguments.family)
    print_table(table)
    if arguments.csv:
        write_text(arguments.csv, table.csv())
        print(f'written to {arguments.csv}')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: compare(arguments))


if __name__ == '__main__':
    sys.exit(main())
