"""What a model sees in your own videos, with and without pruning: the likeliest classes.

python tools/predict.py configs/sta_vit_k400.py ckpt.pth my_video.mp4 --schedules 0 64
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.datasets.annotations import OFFICIAL
from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    parser.add_argument('checkpoint', type=find_path, help='.pth, .pt, .bin or .safetensors')
    parser.add_argument('videos', type=find_path, help='a video, or a folder of videos')
    parser.add_argument('--schedules', nargs='+', metavar='R', help='as in tools/test.py')
    parser.add_argument('--pruners', nargs='+', metavar='NAME', help='as in tools/test.py')
    parser.add_argument('--top', type=int, default=5, metavar='N', help='default %(default)s')
    parser.add_argument(
        '--classes',
        metavar='LIST',
        help=f'{", ".join(OFFICIAL)} or a file with a name a line; default: as the config says',
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write a .csv or .json file')
    parser.add_argument('--amp', choices=('bf16', 'fp16'), help='autocast; default float32')
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import torch

    from sta.atomic import check_target, write_text
    from sta.checkpoints import load_checkpoint
    from sta.datasets.video_list import BrokenVideo, report_broken, sound
    from sta.engine.cli import run_command
    from sta.engine.clips import files_dataset, find_videos, predict
    from sta.engine.config import load_config
    from sta.engine.session import build_model, check_variants, say_what_takes_long, variants_of
    from sta.errors import ConfigError, DataError
    from sta.report import print_table
    from sta.report.classes import (
        Guess,
        best_guesses,
        class_names_of,
        guesses_records,
        guesses_table,
    )
    from sta.report.table import json_text


def run(arguments: argparse.Namespace) -> None:
    check_arguments(arguments)
    config = load_config(arguments.config, arguments.cfg_options)
    for part in ('test_cfg', 'test_dataloader'):
        if not isinstance(config.get(part), dict):
            raise ConfigError(f'config {arguments.config} defines no {part}')
    if arguments.amp:
        config.test_cfg.precision = arguments.amp
    files = find_videos(arguments.videos)
    variants = variants_of(config, schedules=arguments.schedules, pruners=arguments.pruners)
    model = build_model(config)
    names = names_of_classes(config, model.cls_head.num_classes, arguments.classes)
    files_dataset(config, files)
    check_variants(model, variants)
    say_what_takes_long(arguments.checkpoint)
    print(load_checkpoint(model, arguments.checkpoint))
    model = model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    guesses: list[Guess] = []
    broken: list[BrokenVideo] = []
    for found in sound(predict(config, model, files, variants), broken):
        labels = [variant.name for variant in variants]
        mine = best_guesses(found.name, labels, found.scores, names, arguments.top)
        print()
        print_table(guesses_table(mine))
        guesses += mine
    report_broken(broken, len(files))
    if arguments.out is not None:
        write_guesses(guesses, arguments.out)
        print(f'\nwritten to {arguments.out}')


def check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.top < 1:
        raise DataError(f'--top must be at least 1, got {arguments.top}')
    if arguments.out is not None and arguments.out.suffix not in ('.csv', '.json'):
        raise DataError(f'--out takes a .csv or .json file, got {arguments.out}')
    if arguments.out is not None:
        check_target(arguments.out, '--out')


def names_of_classes(config: dict, num_classes: int, asked: str | None) -> tuple[str, ...]:
    source = asked or config.test_dataloader.dataset.get('classes')
    return class_names_of(source, num_classes, holder='the model')


def write_guesses(guesses: list[Guess], path: Path) -> None:
    table = guesses_records(guesses)
    write_text(path, table.csv() if path.suffix == '.csv' else json_text(table.records()))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
