"""Train a model from a config with mmengine's runner.

python tools/train.py configs/train_sta_vit_motions.py --amp bf16
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/train_sta_vit_motions.py')
    parser.add_argument('--work-dir', help='default: as the config says, or work_dirs/CONFIG')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint, or from the last one in the work dir if there is one',
    )
    parser.add_argument('--amp', choices=('bf16', 'fp16'), help='automatic mixed precision')
    parser.add_argument(
        '--export', metavar='FILE', help='write the final weights as float16 .safetensors'
    )
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import torch

    from sta.atomic import check_target, naming
    from sta.checkpoints import export_weights
    from sta.engine import start_processes
    from sta.engine.cli import run_command
    from sta.engine.config import home_of, load_config
    from sta.engine.training import build_train_runner, resume_training, run_training
    from sta.errors import ConfigError


def train(arguments: argparse.Namespace) -> None:
    check_export(arguments.export)
    config = load_config(arguments.config, arguments.cfg_options)
    start_processes(arguments.launcher)
    config.work_dir = arguments.work_dir or str(home_of(config, arguments.config))
    config.launcher = 'none' if arguments.launcher == 'none' else 'pytorch'
    if arguments.amp == 'fp16' and not torch.cuda.is_available():
        raise ConfigError('--amp fp16 needs a GPU; --amp bf16 works here')
    if arguments.amp and 'optim_wrapper' in config:
        wrapper = dict(bf16='BFloat16OptimWrapper', fp16='AmpOptimWrapper')[arguments.amp]
        config.optim_wrapper.type = wrapper
    if arguments.resume:
        resume_training(config, None if arguments.resume == 'auto' else arguments.resume)
    runner = build_train_runner(config)
    with naming(Path(config.work_dir)):
        run_training(runner)
    if arguments.export and runner.rank == 0:
        print(export_weights(getattr(runner.model, 'module', runner.model), arguments.export))


def check_export(path: str | None) -> None:
    """A file that cannot be written is found out before the training, not after it."""
    if path is None:
        return
    if not path.endswith('.safetensors'):
        raise ConfigError(f'--export writes .safetensors, got {path}')
    check_target(Path(path), '--export')


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: train(arguments))


if __name__ == '__main__':
    sys.exit(main())
