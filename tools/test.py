"""Accuracy next to GFLOPs at every pruning schedule, in one pass over the data.

python tools/test.py configs/sta_vit_k400.py ckpt.pth --schedules 0 32 48 64
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from sta.engine import (
    LAUNCHERS,
    agree,
    parse_pruner_text,
    parse_schedule_text,
    start_processes,
)
from sta.engine.command_line import run_command
from sta.engine.config import ConfigError, load_config
from sta.engine.session import build_test_runner, say
from sta.evaluation import summarise
from sta.report import (
    plot_accuracy_vs_gflops,
    print_accuracy_table,
    save_figure,
    write_results,
)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='e.g. configs/sta_vit_k400.py')
    parser.add_argument(
        'checkpoint', nargs='?', help='.pth, .pt, .bin, .safetensors, or a Hugging Face folder'
    )
    parser.add_argument(
        '--schedules',
        nargs='+',
        metavar='R',
        help='tokens dropped per chunk: 64, or 48,96,192 for stages of their own; '
        'default: test_cfg of the config',
    )
    parser.add_argument(
        '--pruners',
        nargs='+',
        metavar='NAME',
        help='sta, random, tube-random, tome, or with settings sta:score=temporal; '
        'default: test_cfg of the config',
    )
    parser.add_argument('--work-dir', help='folder of the results; default work_dirs/CONFIG/TIME')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override the config'
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    parser.add_argument('--amp', choices=('bf16', 'fp16'), help='autocast; default float32')
    parser.add_argument('--max-videos', type=int, metavar='N', help='evenly spaced over the list')
    return parser.parse_args(argv)


def evaluate(arguments: argparse.Namespace, command: str) -> None:
    config = load_config(arguments.config, arguments.cfg_options)
    for part in ('test_cfg', 'test_dataloader'):
        if part not in config:
            raise ConfigError(f'config {arguments.config} defines no {part}')
        if not isinstance(config[part], dict):
            raise ConfigError(f'{part} of {arguments.config} must be a dict, got {config[part]!r}')
    if arguments.schedules:
        config.test_cfg.schedules = [parse_schedule_text(text) for text in arguments.schedules]
    if arguments.pruners:
        config.test_cfg.pruners = [parse_pruner_text(text) for text in arguments.pruners]
    if arguments.amp:
        config.test_cfg.precision = arguments.amp
    if arguments.max_videos is not None:
        config.test_dataloader.dataset.max_videos = arguments.max_videos
    start_processes(arguments.launcher)
    folder = Path(agree(str(result_folder(arguments))))
    config.work_dir = str(folder)
    runner = build_test_runner(config, arguments.checkpoint)
    result = runner.test()
    if runner.rank != 0:
        return
    print_accuracy_table(result)
    written = write_results(
        result,
        folder,
        command=command,
        config=arguments.config,
        checkpoint=arguments.checkpoint or '',
    )
    figure = plot_accuracy_vs_gflops(
        summarise(result), num_videos=len(result.labels), title=Path(arguments.config).stem
    )
    plots = save_figure(figure, folder, 'accuracy_vs_gflops')
    names = ', '.join(path.name for path in (*written.values(), *plots))
    say(f'written to {folder}: {names}')


def result_folder(arguments: argparse.Namespace) -> Path:
    """A folder without results: nothing is ever written over."""
    if arguments.work_dir is None:
        return Path('work_dirs', Path(arguments.config).stem, time.strftime('%Y%m%d_%H%M%S'))
    folder = Path(arguments.work_dir)
    if (folder / 'results.json').exists():
        raise ConfigError(f'--work-dir {folder} already holds results.json: choose another folder')
    return folder


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/test.py ' + shlex.join(words)
    return run_command(lambda: evaluate(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
