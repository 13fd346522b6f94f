"""Tokens, GFLOPs and parameters of a config at several schedules; needs no checkpoint and no data.

python tools/count_flops.py configs/sta_vit_k400.py --schedules 0 32 48 64
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, pruner_names, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        '--schedules',
        nargs='+',
        metavar='R',
        help='tokens dropped per chunk: 64, or 48,96,192; default: test_cfg of the config',
    )
    amount.add_argument(
        '--budget',
        nargs='+',
        type=float,
        metavar='SHARE',
        help='shares of the unpruned GFLOPs, e.g. 0.8 0.6: how much each pruner must drop',
    )
    parser.add_argument(
        '--pruners',
        nargs='+',
        metavar='NAME',
        help=f'{pruner_names()}; default: config',
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from mmengine.config import Config

    from sta.analysis import count_costs
    from sta.engine.budgets import meet_budgets
    from sta.engine.cli import run_command
    from sta.engine.config import load_config
    from sta.engine.session import (
        build_model_of_shapes,
        defaults_of,
        variants_of,
        views_per_video,
    )
    from sta.pruning import Variant, chosen_pruners, expand_variants
    from sta.pruning.variants import UNPRUNED
    from sta.report import cost_table, print_table


def count(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.budget:
        variants = variants_within(config, arguments)
    else:
        variants = variants_of(config, schedules=arguments.schedules, pruners=arguments.pruners)
    model = build_model_of_shapes(config)
    *costs, unpruned = count_costs(model, [*variants, Variant(UNPRUNED)], model.backbone.clip_shape)
    rows = [(variant.name, cost) for variant, cost in zip(variants, costs, strict=True)]
    table = cost_table(
        rows,
        views=views_per_video(config),
        title=Path(arguments.config).stem,
        unpruned_gflops=unpruned.gflops_per_view,
    )
    print_table(table)


def variants_within(config: Config, arguments: argparse.Namespace) -> list[Variant]:
    """No pruning and every pruner at every budget; prints what was found."""
    pruners = chosen_pruners(config.get('test_cfg', {}), arguments.pruners)
    pruners, lines = meet_budgets(config, pruners, arguments.budget)
    for line in lines:
        print(line)
    return expand_variants([0], pruners, defaults_of(config))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: count(arguments))


if __name__ == '__main__':
    sys.exit(main())
