"""Turn the json files of Something-Something V2 into a list, and look into the videos (docs/data.md).

python tools/prepare_ssv2.py --labels labels.json --annotations validation.json --videos data/sthv2/videos
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.datasets.preparation import add_options
from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('--labels', required=True, metavar='JSON', help='labels.json')
    parser.add_argument(
        '--annotations',
        required=True,
        metavar='JSON',
        help='validation.json; or a list of "path label" lines',
    )
    parser.add_argument('--videos', required=True, metavar='FOLDER', help='of ID.webm or ID.mp4')
    parser.add_argument(
        '--split', choices=('val', 'train'), default='val', help='for the names of the files'
    )
    add_options(parser, out='data/sthv2')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.datasets.preparation.matching import Annotations
    from sta.datasets.preparation.prepare import Official
    from sta.datasets.preparation.readers import read_ssv2
    from sta.engine.cli import run_command

SSV2 = Official(
    prefix='sthv2',
    config='configs/sta_vit_ssv2.py',
    folder='data/sthv2',
    videos='data/sthv2/videos',
    published='{listed:,} videos are listed; the validation split has 24,777',
)


def read(arguments: argparse.Namespace) -> Annotations:
    annotations = read_ssv2(arguments.annotations, arguments.labels)
    print(f'{arguments.labels}: its 174 classes are the official ones')
    return annotations


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: SSV2.prepare(arguments, lambda: read(arguments)))


if __name__ == '__main__':
    sys.exit(main())
