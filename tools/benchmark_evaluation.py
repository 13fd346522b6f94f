"""A whole evaluation at several schedules: our one pass against mmaction2's loop run once for each.

python tools/benchmark_evaluation.py configs/sta_vit_motions.py \\
    checkpoints/sta_vit_motions.safetensors --schedules 0 4 8 12 --max-videos 200
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_motions.py')
    parser.add_argument('checkpoint', type=find_path, help='.pth, .pt, .bin or .safetensors')
    parser.add_argument(
        '--schedules',
        nargs='+',
        default=['0', '4', '8', '12'],
        metavar='R',
        help='as in tools/test.py',
    )
    parser.add_argument(
        '--max-videos', type=int, default=200, metavar='N', help='default %(default)s'
    )
    parser.add_argument('--rounds', type=int, default=1, help='A B A B ...; default %(default)s')
    add_cfg_options(parser)
    parser.add_argument('--host-schedule', help=argparse.SUPPRESS)
    parser.add_argument('--work-dir', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.analysis.speed import Usage, measure
    from sta.datasets.annotations import list_text, read_annotations, sample
    from sta.engine.benchmarking import run_host_loop
    from sta.engine.cli import run_command
    from sta.engine.config import load_config
    from sta.engine.session import build_model_of_shapes, check_variants, variants_of
    from sta.errors import ConfigError
    from sta.report import Column, Table, print_table
    from sta.report.table import decimals

HERE = Path(__file__).resolve()


def run(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.host_schedule is not None:  # a process of its own, as a user would start it
        top1 = run_host_loop(
            config,
            arguments.checkpoint,
            schedule=arguments.host_schedule,
            work_dir=arguments.work_dir,
        )
        print(f'top-1 {top1:.2f}')
        return
    for name in ('rounds', 'max_videos'):
        if getattr(arguments, name) < 1:
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} must be at least 1, got {getattr(arguments, name)}')
    variants = variants_of(config, schedules=arguments.schedules, pruners=['sta'])
    check_variants(build_model_of_shapes(config), variants)
    with tempfile.TemporaryDirectory() as folder:
        num_videos = write_list(config, arguments.max_videos, Path(folder, 'list.txt'))
        ours, theirs, accuracies = [], [], []
        for number in range(arguments.rounds):
            try:
                one, mine = run_ours(arguments, Path(folder), number)
                many, yours = run_theirs(arguments, Path(folder), number)
            except RuntimeError as error:  # one of them failed, and said why
                raise ConfigError(str(error)) from None
            ours.append(one)
            theirs.append(many)
            accuracies.append((mine, yours))
    print_report(arguments.schedules, num_videos, ours, theirs, accuracies[0])


def write_list(config: dict, max_videos: int, path: Path) -> int:
    """The same videos of the config's list for both sides; gives their number."""
    entries = read_annotations(config.test_dataloader.dataset.ann_file)
    chosen = sample(entries, max_videos)
    path.write_text(list_text(chosen), encoding='utf-8')
    return len(chosen)


def common(arguments: argparse.Namespace, folder: Path) -> list[str]:
    options = [f'test_dataloader.dataset.ann_file={folder / "list.txt"}']
    return [
        arguments.config,
        arguments.checkpoint,
        '--cfg-options',
        *options,
        *arguments.cfg_options,
    ]


def run_ours(arguments: argparse.Namespace, folder: Path, number: int) -> tuple[Usage, list[str]]:
    work_dir = folder / f'ours{number}'
    command = [sys.executable, str(HERE.with_name('test.py')), *common(arguments, folder)]
    command += ['--schedules', *arguments.schedules, '--pruners', 'sta']
    usage = measure([*command, '--work-dir', str(work_dir)])
    rows = json.loads((work_dir / 'results.json').read_text())['rows']
    return usage, [f'{row["top1_percent"]:.2f}' for row in rows]


def run_theirs(arguments: argparse.Namespace, folder: Path, number: int) -> tuple[Usage, list[str]]:
    """Their runs one after the other: seconds add up, the largest peak counts."""
    usages = [
        measure(
            [
                sys.executable,
                str(HERE),
                *common(arguments, folder),
                '--host-schedule',
                schedule,
                '--work-dir',
                str(folder / f'theirs{number}_{i}'),
            ]
        )
        for i, schedule in enumerate(arguments.schedules)
    ]
    total = sum(usage.wall_s for usage in usages)
    peak = max(usage.peak_mb for usage in usages)
    return Usage(total, peak, ''), [usage.output.split()[-1] for usage in usages]


def print_report(
    schedules: list[str],
    num_videos: int,
    ours: list[Usage],
    theirs: list[Usage],
    accuracies: tuple[list[str], list[str]],
) -> None:
    scored = num_videos * len(schedules)
    columns = [
        Column('name', 'run'),
        Column('wall_s', 'wall\ns', decimals(1)),
        Column('', 'videos x\nschedules/s', decimals(1), lambda row: scored / row['wall_s']),
        Column('peak_mb', 'peak memory\nMB', decimals(0)),
        Column('top1', 'top-1 %'),
    ]
    sides = zip(('one pass', 'mmaction2'), (ours, theirs), accuracies, strict=True)
    by_side = [
        [
            dict(name=f'{side} {i}', wall_s=u.wall_s, peak_mb=u.peak_mb, top1=' '.join(found))
            for i, u in enumerate(usages, start=1)
        ]
        for side, usages, found in sides
    ]
    rows = [row for pair in zip(*by_side, strict=True) for row in pair]
    ratios = sorted(b.wall_s / a.wall_s for a, b in zip(ours, theirs, strict=True))
    note = (
        f'{num_videos} videos at {len(schedules)} schedules ({", ".join(schedules)}), processes '
        f'started anew each time; mmaction2: its own data set, decoding and test loop, once per '
        f'schedule. It takes {ratios[len(ratios) // 2]:.2f} times as long.'
    )
    print_table(Table(columns, rows, note=note))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
