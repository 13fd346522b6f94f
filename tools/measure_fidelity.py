"""How near pruned features and predictions stay to the whole model's, and which tubelets are kept.

python tools/measure_fidelity.py configs/sta_vit_k400.py ckpt.pth --budget 0.6 --pruners sta random
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser

MOST_VIDEOS = 1000


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    parser.add_argument('checkpoint', type=find_path)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument('--schedules', nargs='+', metavar='R', help='as in tools/test.py')
    amount.add_argument(
        '--budget', nargs='+', type=float, metavar='SHARE', help='as in tools/test.py'
    )
    parser.add_argument('--pruners', nargs='+', metavar='NAME', help='as in tools/test.py')
    parser.add_argument('--seeds', type=int, metavar='N', help='as in tools/test.py')
    parser.add_argument(
        '--still',
        type=float,
        default=0.1,
        metavar='D',
        help='a tubelet stands still when its normalised pixels differ by less than this from the '
        'one before; default %(default)s',
    )
    parser.add_argument(
        '--max-videos',
        type=int,
        default=MOST_VIDEOS,
        metavar='N',
        help='a fixed random sample of the list, whose features are kept in memory; default '
        '%(default)s',
    )
    parser.add_argument('--out', type=Path, metavar='DIR', help='default work_dirs/CONFIG/fidelity')
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import numpy as np

    from sta.atomic import check_folder
    from sta.datasets.annotations import read_class_names
    from sta.engine.budgets import changes_of_clips, meet_budgets
    from sta.engine.cli import run_command
    from sta.engine.clips import Observations, observe_videos
    from sta.engine.config import load_config
    from sta.engine.scoring import Scorer
    from sta.engine.session import build_test_runner
    from sta.errors import ConfigError
    from sta.evaluation import Fidelity, fidelities
    from sta.pruning import Variant, parse_pruner_text, parse_schedule_text, with_seeds
    from sta.report import print_table
    from sta.report.classes import numbered_names
    from sta.report.fidelity import FidelityRow, fidelity_table, write_fidelity


def measure(arguments: argparse.Namespace, command: str) -> None:
    config = load_config(arguments.config, arguments.cfg_options)
    for part in ('test_cfg', 'test_dataloader'):
        if part not in config:
            raise ConfigError(f'config {arguments.config} defines no {part}')
    if not 0 <= arguments.still < math.inf:
        raise ConfigError(f'--still must be a number of at least 0, got {arguments.still:g}')
    out = arguments.out or Path('work_dirs', Path(arguments.config).stem, 'fidelity')
    check_folder(out, '--out')
    schedules = [parse_schedule_text(text) for text in arguments.schedules or ()]
    pruners = config.test_cfg.get('pruners', [])
    if arguments.pruners:
        pruners = [parse_pruner_text(text) for text in arguments.pruners]
    config.test_dataloader.dataset.max_videos = arguments.max_videos
    if arguments.budget:
        pruners, lines = meet_budgets(config, pruners, arguments.budget, changes_of_clips)
        print('\n'.join(lines))
        config.test_cfg.schedules = [0]
    if arguments.seeds is not None:
        pruners = with_seeds(pruners, arguments.seeds)
    config.test_cfg.pruners = pruners
    # Everything is compared with no pruning, whether it was asked for or not.
    config.test_cfg.schedules = [0, *(schedules or config.test_cfg.get('schedules', []))]
    config.work_dir = str(out)
    runner = build_test_runner(config, arguments.checkpoint)
    seen = observe_videos(runner, still=arguments.still)
    variants = runner.test_loop.variants
    gflops = gflops_of(runner.model, variants)
    rows = rows_of(seen, variants, gflops)
    print_table(fidelity_table(rows, title='Fidelity to the whole model', still=arguments.still))
    if seen.num_broken:
        print(f'left out, since they cannot be decoded: {seen.num_broken} videos')
    facts = {'command': command, 'still': arguments.still, 'left_out': seen.num_broken}
    names = class_names(runner)
    by_class = rows_by_class(seen, variants, gflops, names)
    written = write_fidelity(rows, by_class, Path(config.work_dir), facts)
    print(f'written to {config.work_dir}: {", ".join(path.name for path in written)}')


def gflops_of(model: object, variants: Sequence[Variant]) -> list[float | None]:
    """Of every variant; None where it depends on the clip."""
    scorer = Scorer(model, variants, precision='fp32', max_views_per_forward=1)
    costs = scorer.count(model.backbone.clip_shape)
    return [
        None if at_input else cost.gflops_per_view
        for cost, at_input in zip(costs, scorer.at_input, strict=True)
    ]


def rows_of(
    seen: Observations,
    variants: Sequence[Variant],
    gflops: Sequence[float | None],
    videos: np.ndarray | None = None,
    class_name: str = '',
) -> list[FidelityRow]:
    """A row per variant over some of the videos."""
    found: list[Fidelity] = fidelities(
        seen.features, seen.log_probabilities, seen.kept, videos=videos
    )
    chosen = slice(None) if videos is None else videos
    labels = seen.labels[chosen]
    right = seen.log_probabilities[:, chosen].argmax(-1) == labels
    return [
        FidelityRow(
            variant.name, gflops[i], 100.0 * right[i].mean(), found[i], class_name, len(labels)
        )
        for i, variant in enumerate(variants)
    ]


def rows_by_class(
    seen: Observations,
    variants: Sequence[Variant],
    gflops: Sequence[float | None],
    names: Sequence[str],
) -> list[FidelityRow]:
    """The same for every class that has a video."""
    return [
        row
        for label in np.unique(seen.labels)
        for row in rows_of(seen, variants, gflops, seen.labels == label, names[label])
    ]


def class_names(runner: object) -> Sequence[str]:
    """As the config's data set names them, else numbers."""
    source = getattr(runner.test_loop.dataloader.dataset, 'classes', None)
    if source is None:
        return numbered_names(runner.model.cls_head.num_classes)
    return read_class_names(source)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/measure_fidelity.py ' + shlex.join(words)
    return run_command(lambda: measure(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
