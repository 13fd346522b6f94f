"""Write a pruned model as a file that runs without sta: torch.export (.pt2) or ONNX.

python tools/export.py configs/sta_vit_k400.py ckpt.pth --schedule 64 --format onnx
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    parser.add_argument('checkpoint', type=find_path, help='.pth, .pt, .bin or .safetensors')
    parser.add_argument('--schedule', required=True, metavar='R', help='one, as in tools/test.py')
    parser.add_argument('--pruner', default='sta', metavar='NAME', help='as in tools/test.py')
    parser.add_argument(
        '--format', choices=('onnx', 'pt2'), default='onnx', help='default %(default)s'
    )
    parser.add_argument(
        '--input',
        choices=('normalised', 'float', 'uint8'),
        default='normalised',
        help='what the model will take: clips as the backbone sees them, or RGB from 0 to 255 '
        'that it normalises itself; default %(default)s',
    )
    parser.add_argument(
        '--batch-size', type=int, metavar='CLIPS', help='the only one; default: any'
    )
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='default work_dirs/CONFIG/VARIANT.FORMAT'
    )
    parser.add_argument(
        '--tolerance', type=float, default=1e-4, help='of logits, default %(default)s'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from mmengine.config import Config

    from sta.checkpoints import load_checkpoint
    from sta.datasets.annotations import read_class_names
    from sta.engine.cli import run_command
    from sta.engine.config import load_config
    from sta.engine.session import build_model, variants_of
    from sta.errors import ConfigError
    from sta.export import (
        ClipClassifier,
        capture,
        check_format,
        check_target,
        side_facts,
        write_export,
    )
    from sta.pruning import Variant


def export(arguments: argparse.Namespace, command: str) -> None:
    check_arguments(arguments)
    config = load_config(arguments.config, arguments.cfg_options)
    variant = one_variant(config, arguments)
    out = arguments.out or Path(
        'work_dirs', Path(arguments.config).stem, f'{variant.name}.{arguments.format}'
    )
    check_target(out, arguments.format)
    classes = class_names(config)
    model = build_model(config)
    shape = model.backbone.clip_shape
    model.backbone.set_variant(variant)
    check_format(ClipClassifier(model, pixels=arguments.input), arguments.format)
    print(load_checkpoint(model, arguments.checkpoint))
    module = ClipClassifier(model, pixels=arguments.input)
    captured = capture(module, shape, batch_size=arguments.batch_size)
    if captured.note:
        print(captured.note, file=sys.stderr)
    facts = side_facts(
        model,
        captured,
        variant,
        pixels=arguments.input,
        clip_shape=shape,
        classes=classes,
        made={
            'command': command,
            'config': arguments.config,
            'checkpoint': arguments.checkpoint,
        },
    )
    exported = write_export(
        module,
        captured,
        out,
        clip_shape=shape,
        facts=facts,
        tolerance=arguments.tolerance,
    )
    print(f'input: {facts["input"]["shape"]}, {facts["input"]["values"]}')
    print(exported.agreement)
    print(f'written to {", ".join(map(str, exported.paths))}')


def class_names(config: Config) -> tuple[str, ...] | None:
    """Those of the test data, where the config has any that name their classes."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    source = dataset.get('classes')
    return None if source is None else read_class_names(source)


def check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise ConfigError(f'--batch-size must be at least 1, got {arguments.batch_size}')
    if not 0 < arguments.tolerance < 1:
        raise ConfigError(f'--tolerance must be above 0 and below 1, got {arguments.tolerance}')


def one_variant(config: Config, arguments: argparse.Namespace) -> Variant:
    """The variant typed; a pruner that takes no schedule comes last, and is refused by name."""
    return variants_of(config, schedules=[arguments.schedule], pruners=[arguments.pruner])[-1]


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    command = shlex.join(['python', *(sys.argv if argv is None else ['tools/export.py', *argv])])
    return run_command(lambda: export(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
