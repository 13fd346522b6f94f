"""Tokens, GFLOPs and parameters of a config at several schedules; needs no checkpoint and no data.

python tools/count_flops.py configs/sta_vit_k400.py --schedules 0 32 48 64
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from sta.analysis import count_costs
from sta.engine import chosen_variants
from sta.engine.command_line import run_command
from sta.engine.config import load_config
from sta.engine.session import build_model, clip_shape, views_per_video
from sta.report import cost_table, print_table


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='e.g. configs/sta_vit_k400.py')
    parser.add_argument(
        '--schedules',
        nargs='+',
        metavar='R',
        help='tokens dropped per chunk: 64, or 48,96,192; default: test_cfg of the config',
    )
    parser.add_argument(
        '--pruners',
        nargs='+',
        metavar='NAME',
        help='sta, random, tube-random, tome; default: config',
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    return parser.parse_args(argv)


def count(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.cfg_options)
    variants = chosen_variants(
        config.get('test_cfg', {}), schedules=arguments.schedules, pruners=arguments.pruners
    )
    with torch.device('meta'):  # shapes are all that counts: a ViT-H need not be filled
        model = build_model(config)
    costs = count_costs(model, variants, clip_shape(model.backbone))
    rows = [(variant.name, cost) for variant, cost in zip(variants, costs, strict=True)]
    print_table(cost_table(rows, views=views_per_video(config), title=Path(arguments.config).stem))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: count(arguments))


if __name__ == '__main__':
    sys.exit(main())
