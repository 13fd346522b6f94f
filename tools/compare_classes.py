"""Which actions suffer from pruning: two variants of an evaluation class by class.

python tools/compare_classes.py work_dirs/sta_vit_k400/20260101_120000 --classes kinetics400
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.datasets.annotations import OFFICIAL
from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('folder', type=Path, help='what tools/test.py wrote, with scores.npz')
    parser.add_argument(
        '--variants',
        nargs=2,
        metavar=('BEFORE', 'AFTER'),
        help='default: the one that drops nothing, and of the others the one with the lowest top-1',
    )
    parser.add_argument(
        '--classes',
        metavar='LIST',
        help=f'{", ".join(OFFICIAL)} or a file with a name a line; default: as results.json says, '
        'else numbers',
    )
    parser.add_argument('--out', type=Path, metavar='DIR', help='default: the folder of the scores')
    parser.add_argument(
        '--top',
        type=int,
        default=15,
        metavar='N',
        help='classes from either end, and confusions, to show; default %(default)s; CSV and JSON '
        'hold all',
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.atomic import check_folder
    from sta.engine.cli import run_command
    from sta.errors import DataError
    from sta.report import Evaluation, load, print_table
    from sta.report.classes import (
        changes_table,
        class_names_of,
        confusions_table,
        numbered_names,
        write_comparison,
    )
    from sta.report.folder import comparison_of


def compare(arguments: argparse.Namespace, command: str) -> None:
    if arguments.top < 1:
        raise DataError(f'--top must be at least 1, got {arguments.top}')
    if arguments.out is not None:
        check_folder(arguments.out, '--out')
    found = load(arguments.folder, needs_results=False)
    names = names_of_classes(found, arguments.classes)
    comparison = comparison_of(found, names, arguments.variants)
    for table in (changes_table, confusions_table):
        print_table(table(comparison, arguments.top))
        print()
    folder = arguments.out or arguments.folder
    facts = {
        'command': command,
        'scores': str(arguments.folder / 'scores.npz'),
        'classes': arguments.classes or found.class_list,
    }
    written = write_comparison(comparison, folder, facts, top=arguments.top)
    print(f'written to {folder}: {", ".join(path.name for path in written)}')


def names_of_classes(found: Evaluation, asked: str | None) -> tuple[str, ...]:
    """Names as asked for, else as the evaluation recorded them, else numbers."""
    num_classes = found.scores.scores.shape[2]
    try:
        return class_names_of(asked or found.class_list, num_classes, holder='the scores')
    except DataError as error:
        if asked:
            raise
        # The evaluation may have been made elsewhere, which is no mistake of who reads it here.
        print(f'classes are shown by number: {error}', file=sys.stderr)
        return numbered_names(num_classes)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/compare_classes.py ' + shlex.join(words)
    return run_command(lambda: compare(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
