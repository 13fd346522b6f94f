"""Render a split of the embedded motion data set (docs/motions.md).

python tools/make_motions.py --split val --num-clips 480 --out data/motions
python tools/make_motions.py --split train --num-clips 12000 --out data/motions --workers 16
python tools/make_motions.py --split val --preview motions.png
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.environment import accept_any_text
from sta.start import ToolParser, hosts_needed, stdout_trouble


class OneLineParser(ToolParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2 and one line on stderr."""
        self.exit(2, f'error: {message}\n')


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--split', choices=('train', 'val', 'train_easy'), required=True)
    parser.add_argument(
        '--num-clips', type=int, help='default 480 for val, 12000 for train, 8000 for train_easy'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('data/motions'), help='default %(default)s'
    )
    parser.add_argument('--seed', type=int, default=0, help='default %(default)s')
    parser.add_argument('--size', type=int, default=112, help='side in pixels; default %(default)s')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes; default: one a core'
    )
    parser.add_argument(
        '--preview',
        type=Path,
        metavar='PNG',
        help='only draw a sheet of the first clip of each class',
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.datasets.motions.clips import DIFFICULTIES, ClipSource, save_contact_sheet, write_split
    from sta.datasets.motions.scene import Difficulty
    from sta.datasets.progress import VideoProgress
    from sta.errors import MotionsError

NUM_CLIPS = {'train': 12000, 'val': 480, 'train_easy': 8000}


def write(source: ClipSource, arguments: argparse.Namespace) -> None:
    num_clips = arguments.num_clips
    num_clips = NUM_CLIPS[source.split] if num_clips is None else num_clips
    progress = VideoProgress(
        num_videos=num_clips,
        verb=(f'rendering {source.split}', 'rendered'),
        waiting='no clip yet',
        detail=lambda: '',
        line_at_end=False,
    )
    with progress:
        report = write_split(
            source,
            arguments.out,
            num_clips=num_clips,
            num_workers=arguments.workers,
            on_progress=progress.advance,
        )
    print(
        f'{num_clips} clips in {arguments.out / source.split} ({report.num_written} written in '
        f'{progress.elapsed_s:.0f} s, {report.num_skipped} were there), '
        f'{report.num_bytes / 1e6:.2f} MB; list: {arguments.out / source.split}.txt'
    )


def run(arguments: argparse.Namespace) -> None:
    try:
        source = ClipSource(
            arguments.split,
            seed=arguments.seed,
            size=arguments.size,
            difficulty=DIFFICULTIES.get(arguments.split, Difficulty()),
        )
    except ValueError as error:
        raise MotionsError(error) from None
    if not arguments.preview:
        write(source, arguments)
        return
    try:
        save_contact_sheet(source, arguments.preview)
    except OSError as error:
        raise MotionsError(f'cannot write {arguments.preview}: {error.strerror or error}') from None
    print(f'drew {arguments.preview}')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    accept_any_text()
    try:
        run(arguments)
        if trouble := stdout_trouble():
            raise MotionsError(trouble)
    except MotionsError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: {stdout_trouble(error) or error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
