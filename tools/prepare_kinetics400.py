"""Turn the official csv of Kinetics-400 into a list, and look into the videos (docs/data.md).

python tools/prepare_kinetics400.py kinetics_val.csv --videos data/kinetics400/videos_val
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.datasets.preparation import add_options
from sta.start import hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        'annotations',
        metavar='CSV',
        help='label,youtube_id,time_start,time_end,split; or a list of "path label" lines',
    )
    parser.add_argument('--videos', required=True, metavar='FOLDER', help='flat or by class')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='val')
    add_options(parser, out='data/kinetics400')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.datasets.preparation.prepare import Official
    from sta.datasets.preparation.readers import read_kinetics400
    from sta.engine.cli import run_command

KINETICS400 = Official(
    prefix='kinetics400',
    config='configs/sta_vit_k400.py',
    folder='data/kinetics400',
    videos='data/kinetics400/videos_val',
    published='{listed:,} videos are listed; the validation split was published with 19,881, and '
    'copies in circulation hold 19,796, 19,761 or fewer: state the number beside an accuracy',
)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)

    return run_command(
        lambda: KINETICS400.prepare(
            arguments, lambda: read_kinetics400(arguments.annotations, split=arguments.split)
        )
    )


if __name__ == '__main__':
    sys.exit(main())
