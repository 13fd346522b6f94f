"""Which patches of your own videos survive, and what they are ranked by, as a picture.

python tools/visualize_tokens.py configs/sta_vit_k400.py ckpt.pth my_video.mp4 --schedule 64
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    parser.add_argument('checkpoint', type=find_path, help='.pth, .pt, .bin or .safetensors')
    parser.add_argument('videos', type=find_path, help='a video, or a folder of videos')
    parser.add_argument(
        '--schedule',
        metavar='R',
        help='tokens dropped, as in tools/test.py; 0 shows GradNorm alone; default: the last '
        "schedule of the config's test_cfg",
    )
    parser.add_argument('--pruner', default='sta', metavar='NAME', help='default %(default)s')
    parser.add_argument(
        '--stage', type=int, metavar='N', help='whose scores are shown; default: the first'
    )
    parser.add_argument(
        '--label', metavar='CLASS', help="name or number, for GradNorm's loss; default: predicted"
    )
    parser.add_argument(
        '--columns', type=int, default=8, metavar='N', help='frames of a PNG, default %(default)s'
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PATH',
        help='.png, .gif or .mp4; for a folder of videos a new folder; default: below '
        'work_dirs/CONFIG/pictures',
    )
    parser.add_argument(
        '--format',
        choices=('png', 'gif', 'mp4'),
        help="kind of a folder's pictures, default png",
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import torch

    from sta.atomic import check_target, replacing
    from sta.checkpoints import load_checkpoint
    from sta.datasets.video_list import BrokenVideo, report_broken
    from sta.engine.cli import run_command
    from sta.engine.clips import find_videos
    from sta.engine.config import load_config
    from sta.engine.session import build_model, variants_of
    from sta.errors import DataError
    from sta.pruning import Variant
    from sta.report.classes import class_names_of
    from sta.visualization import (
        SUFFIXES,
        Explanation,
        check_stage,
        check_variant,
        contact_sheet,
        contact_strip,
        draw_frames,
        draw_sheet,
        encode,
        explain,
        one_crop_of,
        read_views,
    )

CONTACT_SHEET = 'contact_sheet.png'


def run(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.cfg_options)
    files = find_videos(arguments.videos)
    variant = the_variant(config, arguments)
    places = output_paths(arguments, files, variant.name)
    model = build_model(config)
    names = class_names(config, model.cls_head.num_classes)
    label = None if arguments.label is None else label_number(arguments.label, names)
    schedule = check_variant(model.backbone, variant)
    stage = check_stage(schedule, arguments.stage)
    one_crop_of(config, files)
    check_target(places[0], '--out')
    print(load_checkpoint(model, arguments.checkpoint))
    model = model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    strips, broken = [], []
    for view, place in zip(read_views(config, model, files), places, strict=True):
        if isinstance(view, BrokenVideo):
            broken.append(view)
            continue
        if view.note and not strips:
            print(f'several views: shown is {view.note}')
        shown = explain(model, view, variant, stage=stage, names=names, label=label)
        say_what_is_missing(shown, stage, variant)
        write(place, draw(shown, place.suffix, arguments.columns))
        pair = (shown.rows[0], shown.rows[shown.last])
        strips.append(contact_strip(place.stem, *pair, tubelet=shown.tubelet))
    report_broken(broken, len(files))
    if Path(arguments.videos).is_dir():
        title = f'{variant.name}: input and what is left after the last stage'
        sheet = contact_sheet(strips, title=title)
        write(places[0].parent / CONTACT_SHEET, encode([sheet], '.png'))


def the_variant(config: Any, arguments: argparse.Namespace) -> Variant:
    if arguments.columns < 1:
        raise DataError(f'--columns must be at least 1, got {arguments.columns}')
    schedules = None if arguments.schedule is None else [arguments.schedule]
    return variants_of(config, schedules=schedules, pruners=[arguments.pruner])[-1]


def class_names(config: Any, num_classes: int) -> tuple[str, ...]:
    source = config.get('test_dataloader', {}).get('dataset', {}).get('classes')
    return class_names_of(source, num_classes, holder='the model')


def label_number(text: str, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text)
    if not text.isdecimal() or int(text) >= len(names):
        raise DataError(f'--label {text!r} is no class name and no number below {len(names)}')
    return int(text)


def output_paths(arguments: argparse.Namespace, files: list[Path], name: str) -> list[Path]:
    """Where every picture goes; raises DataError where something would be overwritten."""
    out, suffix = arguments.out, f'.{arguments.format or "png"}'
    below = Path('work_dirs', Path(arguments.config).stem, 'pictures')
    if Path(arguments.videos).is_dir():
        folder = out or below / f'{Path(arguments.videos).resolve().name}_{name}'
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f'{folder} exists already: give another --out')
        if folder.suffix in SUFFIXES:
            raise DataError(f'--out of a folder of videos is a folder, got {folder}')
        return picture_names(folder, files, suffix)
    out = out or below / f'{files[0].stem}_{name}{suffix}'
    if out.suffix not in SUFFIXES or arguments.format and out.suffix != suffix:
        allowed = [suffix] if arguments.format else SUFFIXES
        raise DataError(f'--out takes a {", ".join(allowed)} file, got {out}')
    if out.exists():
        raise DataError(f'{out} exists already: give another --out')
    return [out]


def picture_names(folder: Path, files: list[Path], suffix: str) -> list[Path]:
    """By stem, or by full name and number where two would share one."""
    stems = Counter([file.stem for file in files] + [Path(CONTACT_SHEET).stem])
    return [
        folder / (f'{file.stem}{suffix}' if stems[file.stem] == 1 else f'{i}_{file.name}{suffix}')
        for i, file in enumerate(files, start=1)
    ]


def draw(shown: Explanation, suffix: str, columns: int) -> bytes:
    if suffix != '.png':
        return encode(draw_frames(shown.rows, title=shown.title), suffix)
    sheet = draw_sheet(shown.rows, title=shown.title, tubelet=shown.tubelet, max_columns=columns)
    return encode([sheet], suffix)


def write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    print(f'written to {path}')


def say_what_is_missing(shown: Explanation, stage: int, variant: Variant) -> None:
    if not stage:
        print('nothing is dropped, so nothing is ranked: only the frames and GradNorm are shown')
    elif len(shown.rows) == shown.last + 2:
        print(f'{variant.name} ranks by no importance or redundancy: there is nothing to show')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
