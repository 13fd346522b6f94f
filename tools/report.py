"""Write report.html again, one self-contained page, from what tools/test.py left in a folder.

python tools/report.py work_dirs/sta_vit_k400/20260101_120000 --pictures a.png b.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('folder', type=Path, help='with results.json and scores.npz')
    parser.add_argument(
        '--pictures', nargs='+', type=Path, default=[], metavar='PNG', help='examples to show'
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.engine.cli import run_command
    from sta.errors import DataError
    from sta.report import load
    from sta.report.page import write_page


def run(arguments: argparse.Namespace) -> None:
    for path in arguments.pictures:
        if path.suffix.lower() != '.png' or not path.is_file():
            raise DataError(f'--pictures takes PNG files, got {path}')
    path = write_page(load(arguments.folder), arguments.folder, pictures=arguments.pictures)
    print(f'written to {path} ({path.stat().st_size / 1e6:.1f} MB)')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
