"""Time a backbone at several schedules against itself and against mmaction2's, in one run.

python tools/benchmark.py configs/sta_vit_s_k400.py --schedules 0 64 --batch-sizes 2 --vs mmaction2
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add('config', type=find_path, help='e.g. configs/sta_vit_s_k400.py')
    add('--schedules', nargs='+', metavar='R', help='default: test_cfg of the config')
    add('--pruner', default='sta', metavar='NAME', help='default %(default)s')
    add(
        '--batch-sizes',
        '--batch-size',
        nargs='+',
        type=int,
        default=[2],
        metavar='CLIPS',
        help='of a forward pass, one after the other; default 2',
    )
    add('--dtype', choices=('fp32', 'bf16', 'fp16'), default='fp32', help='weights and clips')
    add('--device', choices=('cpu', 'cuda'), default='cpu', help='default %(default)s')
    add('--vs', choices=('mmaction2',), help="also time mmaction2's own backbone")
    add(
        '--compile',
        nargs='?',
        const='default',
        choices=('default', 'reduce-overhead', 'max-autotune'),
        help='run ours through torch.compile, in one graph',
    )
    add('--backward', action='store_true', help='time forward and backward, as in training')
    add(
        '--clips',
        type=find_path,
        metavar='VIDEOS',
        help='time on real frames: a video, a folder, or a list (.txt, .csv); default: noise',
    )
    add(
        '--end-to-end',
        action='store_true',
        help="also time from the file to the scores, eagerly, on --clips or the config's list",
    )
    add('--max-videos', type=int, default=16, help='of these; default %(default)s')
    add('--breakdown', action='store_true', help='also profile where the time goes (CPU only)')
    add(
        '--rounds',
        type=int,
        default=10,
        metavar='N',
        help='of which medians are taken; default %(default)s',
    )
    add(
        '--warm-up',
        type=int,
        default=2,
        metavar='N',
        help='passes before them; default %(default)s',
    )
    add('--csv', metavar='FILE', help='write the figures, and a .json with all conditions beside')
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import torch

    from sta.analysis import count_costs
    from sta.analysis.speed import time_by_part
    from sta.atomic import check_target
    from sta.engine.benchmarking import (
        WITH_CUDA_GRAPHS,
        compiled,
        compiling,
        host_of,
        pruning_shares,
        time_end_to_end,
        time_forwards,
        twins_of,
        with_backward,
    )
    from sta.engine.cli import run_command
    from sta.engine.clips import listed_videos, stacked_views
    from sta.engine.config import load_config
    from sta.engine.loop import PRECISIONS, describe_hardware
    from sta.engine.session import build_model, explained, variants_of
    from sta.environment import commit_of, cpu_name, describe_machine, describe_state
    from sta.errors import ConfigError
    from sta.report import (
        benchmark_rows,
        benchmark_table,
        breakdown_table,
        end_to_end_table,
        json_beside,
        print_table,
        write_benchmark,
    )


def check_arguments(arguments: argparse.Namespace) -> None:
    csv = arguments.csv
    smallest = {'batch-size': (1, min(arguments.batch_sizes)), 'rounds': (1, arguments.rounds)}
    smallest |= {'max-videos': (1, arguments.max_videos), 'warm-up': (0, arguments.warm_up)}
    for name, (least, given) in smallest.items():
        if given < least:
            raise ConfigError(f'--{name} must be at least {least}, got {given}')
    if csv:
        check_target(Path(csv), '--csv')
        if json_beside(Path(csv)) == Path(csv):
            raise ConfigError(f'--csv {csv}: the .json is written beside it, name it .csv')
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: torch sees no GPU here')
    if arguments.breakdown and arguments.device == 'cuda':
        raise ConfigError('--breakdown profiles a CPU: leave --device cuda away')


@torch.no_grad()
def benchmark(arguments: argparse.Namespace, command: str) -> None:
    check_arguments(arguments)
    started = describe_state()
    config = load_config(arguments.config, arguments.cfg_options)
    model = build_model(config).eval()
    shape = model.backbone.clip_shape
    variants = variants_of(config, schedules=arguments.schedules, pruners=[arguments.pruner])
    files = []
    if arguments.clips or arguments.end_to_end:
        files = listed_videos(config, arguments.clips, arguments.max_videos)
    clips = torch.randn(max(arguments.batch_sizes), *shape)
    if arguments.clips:
        clips = stacked_views(config, model, files, len(clips))
        shape = tuple(clips.shape[1:])
    with explained(f'clips of {shape} do not suit the model'):
        costs = count_costs(model, variants, shape)
    gflops = {v.name: cost.gflops_per_view for v, cost in zip(variants, costs, strict=True)}
    model.to(arguments.device)
    rows, passes = [], []
    if arguments.end_to_end:  # before the weights change their type: here precision is autocast
        timings = time_end_to_end(
            config, model, files, variants, rounds=arguments.rounds, precision=arguments.dtype
        )
        passes = benchmark_rows(timings, gflops, {})
        title = f'end to end, {timings[0].batch_size} videos: {title_of(arguments)}'
        print_table(end_to_end_table(passes, title=title))
    dtype = PRECISIONS[arguments.dtype] or torch.float32
    backbone = model.backbone.to(dtype)
    clips = clips.to(arguments.device, dtype)
    for batch_size in arguments.batch_sizes:
        found, state = measure(arguments, backbone, variants, clips[:batch_size], gflops)
        title = f'batch {batch_size}, {title_of(arguments)}'
        print_table(benchmark_table(found, title=f'{Path(arguments.config).stem}, {title}'))
        rows += found
    if arguments.breakdown:
        print_table(breakdown_table(parts_of(arguments, backbone, variants, clips)))
    if arguments.csv:
        facts = {
            'command': command,
            'commit': commit_of(),
            'clip_shape': list(shape),
            'clips': arguments.clips or 'noise',
            'videos': [str(file) for file in files],
            'compile': arguments.compile,
            'backward': arguments.backward,
            'machine': describe_machine(),
            'state_before': started,
            'state_after': state,
            'end_to_end': passes,
        }
        sizes = ', '.join(map(str, arguments.batch_sizes))
        title = f'{Path(arguments.config).stem}, batch {sizes}, {title_of(arguments)}'
        write_benchmark(rows, Path(arguments.csv), title=title, facts=facts)


def measure(
    arguments: argparse.Namespace,
    backbone: Any,
    variants: Sequence[Any],
    clips: torch.Tensor,
    gflops: dict[str, float],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of one size of batch, and clocks and load right behind its rounds."""
    twins = twins_of(backbone, variants)
    ours: dict[str, Any] = compiled(twins, arguments.compile) if arguments.compile else dict(twins)
    contestants = {**({'mmaction2': host_of(backbone)} if arguments.vs else {}), **ours}
    if arguments.backward:
        contestants = {name: with_backward(model) for name, model in contestants.items()}
    warm_up = max(arguments.warm_up, 1) if arguments.compile else arguments.warm_up
    with compiling(len(variants) * len(arguments.batch_sizes)):
        timings, peaks = time_forwards(
            contestants,
            clips,
            rounds=arguments.rounds,
            warm_up=warm_up,
            with_peaks=not (clips.is_cuda and arguments.compile in WITH_CUDA_GRAPHS),
        )
    state = describe_state()
    # A clock inside of a graph would break it; backward has no stages.
    shares = (
        {}
        if arguments.compile or arguments.backward
        else pruning_shares(twins, clips, rounds=arguments.rounds)
    )
    rows = benchmark_rows(timings, gflops, shares, peaks)
    return [{**row, 'ms_rounds': list(1e3 * t.seconds)} for row, t in zip(rows, timings)], state


def parts_of(
    arguments: argparse.Namespace, backbone: Any, variants: Sequence[Any], clips: torch.Tensor
) -> dict[str, dict[str, float]]:
    """Where the time goes, eagerly."""
    models = dict(twins_of(backbone, variants))
    if arguments.vs:
        models = {'mmaction2': host_of(backbone), **models}
    return {
        name: time_by_part(model, lambda m=model: m(clips), rounds=arguments.rounds)
        for name, model in models.items()
    }


def title_of(arguments: argparse.Namespace) -> str:
    """The conditions in a line."""
    hardware = f'{cpu_name()} CPU, {torch.get_num_threads()} threads'
    parts = [
        arguments.dtype,
        *(['forward and backward'] if arguments.backward else []),
        *([f'torch.compile {arguments.compile}'] if arguments.compile else []),
        f'frames of {arguments.clips}' if arguments.clips else 'noise',
        describe_hardware() if arguments.device == 'cuda' else hardware,
    ]
    return (
        f'{", ".join(parts)}, torch {torch.__version__}: medians of {arguments.rounds} '
        f'interleaved rounds'
    )


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    command = shlex.join(['python', *(sys.argv if argv is None else ['tools/benchmark.py', *argv])])
    return run_command(lambda: benchmark(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
