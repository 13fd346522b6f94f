"""Time a backbone at several schedules against itself and against mmaction2's, in one run.

python tools/benchmark.py configs/sta_vit_s_k400.py --schedules 0 64 --batch-size 2 --vs mmaction2
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from sta.analysis import count_costs
from sta.analysis.breakdown import time_by_part
from sta.analysis.throughput import pruning_share, time_interleaved
from sta.engine import chosen_variants
from sta.engine.command_line import run_command
from sta.engine.config import ConfigError, load_config
from sta.engine.session import build_model, clip_shape
from sta.engine.variant_loop import PRECISIONS, describe_hardware
from sta.models.host import host_backbone
from sta.pruning import Variant
from sta.report import (
    benchmark_rows,
    benchmark_table,
    breakdown_table,
    print_table,
    write_benchmark,
)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='e.g. configs/sta_vit_s_k400.py')
    parser.add_argument(
        '--schedules', nargs='+', metavar='R', help='default: test_cfg of the config'
    )
    parser.add_argument('--pruner', default='sta', metavar='NAME')
    parser.add_argument('--batch-size', type=int, default=2, metavar='CLIPS')
    parser.add_argument(
        '--dtype', choices=list(PRECISIONS), default='fp32', help='weights and clips'
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--vs', choices=('mmaction2',), help="also time mmaction2's own backbone")
    parser.add_argument(
        '--breakdown', action='store_true', help='also profile where the time goes (CPU only)'
    )
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--warm-up', type=int, default=2)
    parser.add_argument(
        '--csv', metavar='FILE', help='write the figures with hardware and versions'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    return parser.parse_args(argv)


@torch.no_grad()
def benchmark(arguments: argparse.Namespace) -> None:
    if min(arguments.batch_size, arguments.rounds) < 1 or arguments.warm_up < 0:
        raise ConfigError('--batch-size and --rounds must be at least 1, --warm-up at least 0')
    if arguments.csv and Path(arguments.csv).is_dir():
        raise ConfigError(f'--csv {arguments.csv} is a folder, not a file')
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: torch sees no GPU here')
    is_cuda = arguments.device == 'cuda'
    if arguments.breakdown and is_cuda:
        raise ConfigError('--breakdown profiles a CPU: leave --device cuda away')
    config = load_config(arguments.config, arguments.cfg_options)
    model = build_model(config).eval()
    shape = clip_shape(model.backbone)
    variants = chosen_variants(
        config.get('test_cfg', {}), schedules=arguments.schedules, pruners=[arguments.pruner]
    )
    costs = count_costs(model, variants, shape)
    dtype = PRECISIONS[arguments.dtype] or torch.float32
    backbone = model.backbone.to(arguments.device, dtype)
    clip = torch.randn(arguments.batch_size, *shape, device=arguments.device, dtype=dtype)

    def forward(variant: Variant) -> Any:
        with backbone.using(variant):
            return backbone(clip)

    contestants = {v.name: (lambda v=v: forward(v)) for v in variants}
    if arguments.vs:
        host = host_backbone(backbone)
        contestants = {'mmaction2': lambda: host(clip), **contestants}
    timings = time_interleaved(
        contestants,
        batch_size=arguments.batch_size,
        rounds=arguments.rounds,
        warm_up=arguments.warm_up,
        is_cuda=is_cuda,
    )
    shares = {}
    for variant in variants:
        with backbone.using(variant):
            shares[variant.name] = pruning_share(
                backbone, lambda: backbone(clip), rounds=arguments.rounds, is_cuda=is_cuda
            )
    gflops = {v.name: cost.gflops_per_view for v, cost in zip(variants, costs, strict=True)}
    rows = benchmark_rows(timings, gflops, shares)
    hardware = (
        describe_hardware()
        if is_cuda
        else f'{platform.machine()} CPU, {torch.get_num_threads()} threads'
    )
    title = (
        f'{Path(arguments.config).stem}, batch {arguments.batch_size}, {arguments.dtype}, '
        f'{hardware}, torch {torch.__version__}: medians of {arguments.rounds} interleaved rounds'
    )
    print_table(benchmark_table(rows, title=title))
    if arguments.breakdown:
        parts = {}
        if arguments.vs:
            parts['mmaction2'] = time_by_part(host, lambda: host(clip), rounds=arguments.rounds)
        for variant in variants:
            with backbone.using(variant):
                parts[variant.name] = time_by_part(
                    backbone, lambda: backbone(clip), rounds=arguments.rounds
                )
        print_table(breakdown_table(parts))
    if arguments.csv:
        write_benchmark(rows, Path(arguments.csv), title=title)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: benchmark(arguments))


if __name__ == '__main__':
    sys.exit(main())
