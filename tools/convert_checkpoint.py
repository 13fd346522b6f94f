"""Rewrite a checkpoint of any known source under mmaction2's names (docs/checkpoints.md).

python tools/convert_checkpoint.py checkpoint.pth vit_b.safetensors
python tools/convert_checkpoint.py FOLDER vit_b.pth --config configs/sta_vit_k400.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        'source',
        type=find_path,
        help='.pth, .pt, .ckpt, .bin, .safetensors, .index.json or a folder (docs/checkpoints.md)',
    )
    parser.add_argument('target', help=".safetensors, or .pth for mmaction2's own tools")
    parser.add_argument(
        '--config',
        type=find_path,
        help='its model must take every weight; fixed tables are written as well',
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--take',
        metavar='NAME',
        help='which of several weights: model_ema, or how their names begin: teacher.',
    )
    parser.add_argument('--force', action='store_true', help='replace a target that is there')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.atomic import check_target
    from sta.checkpoints import convert_checkpoint
    from sta.engine.cli import run_command
    from sta.engine.config import load_config
    from sta.engine.session import build_model
    from sta.errors import CheckpointError


def convert(arguments: argparse.Namespace) -> None:
    model = None
    check_target(Path(arguments.target), 'the target')
    if arguments.config is not None:
        model = build_model(load_config(arguments.config, arguments.cfg_options))
    elif arguments.cfg_options:
        raise CheckpointError('--cfg-options changes a config: give --config as well')
    report = convert_checkpoint(
        arguments.source,
        arguments.target,
        model=model,
        overwrite=arguments.force,
        take=arguments.take,
    )
    print(report)
    if model is not None:
        print(f'fits the model of {arguments.config}: none missing, none unexpected')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: convert(arguments))


if __name__ == '__main__':
    sys.exit(main())
