"""What decoding costs: views of your videos by PyAV and by decord, guarded and not.

python tools/benchmark_decoding.py configs/sta_vit_k400.py my_videos/
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='whose test pipeline is run')
    parser.add_argument('videos', type=find_path, help='a video, or a folder of videos')
    parser.add_argument('--rounds', type=int, default=5, help='default %(default)s')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import cv2
    import torch
    from mmengine.registry import init_default_scope

    from sta.datasets.decoding import DECODERS
    from sta.datasets.video_list import BrokenVideo, VideoFilesDataset
    from sta.engine.cli import run_command
    from sta.engine.clips import find_videos
    from sta.engine.config import load_config
    from sta.engine.session import explained
    from sta.errors import DataError
    from sta.report import Column, Table, print_table
    from sta.report.table import decimals


def run(arguments: argparse.Namespace) -> None:
    if arguments.rounds < 1:
        raise DataError(f'--rounds must be at least 1, got {arguments.rounds}')
    config = load_config(arguments.config)
    init_default_scope('mmaction')
    files = find_videos(arguments.videos)
    pipeline = config.test_dataloader.dataset.pipeline
    with explained(f'the test pipeline of {arguments.config} cannot be built'):
        by_decoder = {
            name: VideoFilesDataset(files, pipeline=pipeline, decoders=name) for name in DECODERS
        }
    cv2.setNumThreads(0)  # as in a data loading worker
    torch.set_num_threads(1)
    for dataset in by_decoder.values():
        first = dataset.load(0)
        if isinstance(first, BrokenVideo):
            raise DataError(f'video {first.filename} cannot be used: {first.reason}')
    ways: dict[str, Callable[[int], Any]] = {}
    for name, dataset in by_decoder.items():
        ways[f'{name}, guarded'] = dataset.load
        ways[f'{name}, in the same process'] = dataset.load_in_place
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, load in ways.items():
            start = time.perf_counter()
            for index in range(len(files)):
                load(index)
            times[name].append(1e3 * (time.perf_counter() - start) / len(files))
    columns = [
        Column('name', 'decoding'),
        Column('median', 'median\nms/video', decimals(1)),
        Column('fastest', 'fastest\nms/video', decimals(1)),
        Column('slowest', 'slowest\nms/video', decimals(1)),
    ]
    rows = [
        {'name': name, 'median': statistics.median(ms), 'fastest': min(ms), 'slowest': max(ms)}
        for name, ms in times.items()
    ]
    note = (
        f'{len(files)} videos, views {tuple(first["inputs"].shape)} of '
        f'{first["inputs"].numel() / 1e6:.0f} MB, one worker on one core.'
    )
    print_table(Table(columns, rows, note=note))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
