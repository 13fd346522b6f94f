"""Turn the official csv of Kinetics-400 into a list, and look into the videos (docs/data.md).

python tools/prepare_kinetics400.py kinetics_val.csv --videos data/kinetics400/videos_val
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import REPOSITORY, hosts_needed, tool_parser

with hosts_needed():
    from sta.datasets.preparation.prepare import add_options, settings_of


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
    from sta.datasets.preparation.matching import FolderIndex
    from sta.datasets.preparation.prepare import Outputs, describe, evaluation_command, prepare
    from sta.datasets.preparation.readers import read_kinetics400
    from sta.engine.cli import run_command

CONFIG = 'configs/sta_vit_k400.py'
DEFAULTS = {
    'ann_file': REPOSITORY / 'data/kinetics400/kinetics400_val_list_videos.txt',
    'videos': REPOSITORY / 'data/kinetics400/videos_val',
}
OFFICIAL = (
    '{listed:,} videos are listed; the validation split was published with 19,881, and copies in '
    'circulation hold 19,796, 19,761 or fewer: state the number beside an accuracy'
)


def run(arguments: argparse.Namespace) -> None:
    settings = settings_of(arguments)
    outputs = Outputs(arguments.out, f'kinetics400_{arguments.split}_')
    outputs.refuse_loss(force=settings.force)
    annotations = read_kinetics400(arguments.annotations, split=arguments.split)
    prepared = prepare(annotations, FolderIndex(arguments.videos), outputs, settings)
    official = OFFICIAL.format(listed=len(prepared.listed)) if arguments.split == 'val' else ''
    print('\n'.join(describe(prepared, official=official)))
    print(f'next: {evaluation_command(CONFIG, prepared, defaults=DEFAULTS)}')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
