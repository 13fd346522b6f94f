"""Turn the json files of Something-Something V2 into a list, and look into the videos (docs/data.md).

python tools/prepare_ssv2.py --labels labels.json --annotations validation.json --videos data/sthv2/videos
"""  # noqa: E501

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
    from sta.datasets.preparation.matching import FolderIndex
    from sta.datasets.preparation.prepare import Outputs, describe, evaluation_command, prepare
    from sta.datasets.preparation.readers import read_ssv2
    from sta.engine.cli import run_command

CONFIG = 'configs/sta_vit_ssv2.py'
DEFAULTS = {
    'ann_file': REPOSITORY / 'data/sthv2/sthv2_val_list_videos.txt',
    'videos': REPOSITORY / 'data/sthv2/videos',
}
OFFICIAL = '{listed:,} videos are listed; the validation split has 24,777'


def run(arguments: argparse.Namespace) -> None:
    settings = settings_of(arguments)
    outputs = Outputs(arguments.out, f'sthv2_{arguments.split}_')
    outputs.refuse_loss(force=settings.force)
    annotations = read_ssv2(arguments.annotations, arguments.labels)
    prepared = prepare(annotations, FolderIndex(arguments.videos), outputs, settings)
    official = OFFICIAL.format(listed=len(prepared.listed)) if arguments.split == 'val' else ''
    print(f'{arguments.labels}: its 174 classes are the official ones')
    print('\n'.join(describe(prepared, official=official)))
    print(f'next: {evaluation_command(CONFIG, prepared, defaults=DEFAULTS)}')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
