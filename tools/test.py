"""Accuracy next to GFLOPs at every pruning schedule, in one pass over the data.

python tools/test.py configs/sta_vit_k400.py ckpt.pth --schedules 0 32 48 64
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_evaluation_options, add_resume, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    parser.add_argument(
        'checkpoint',
        type=find_path,
        nargs='?',
        help='.pth, .pt, .bin, .safetensors, or a Hugging Face folder',
    )
    add_evaluation_options(parser)
    parser.add_argument(
        '--work-dir',
        help='folder of the results; default work_dirs/CONFIG/TIME, or the folder of the same run '
        'if it was cut off',
    )
    add_resume(
        parser,
        'insist on going on with a run that was cut off, or on a new one; default: go on where '
        'there is one',
    )
    parser.add_argument(
        '--retry-broken',
        action='store_true',
        help='when going on, decode those videos again that could not be decoded',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument(
        '--examples',
        type=int,
        metavar='N',
        help='videos that report.html shows with what is kept at every stage, 0 for none; default '
        '4, fewer where they take more than 20 s',
    )
    parser.add_argument(
        '--shard',
        metavar='I/K',
        help='evaluate every K-th batch of the list only, from the I-th on; tools/sweep.py and '
        'tools/collect.py deal such shards out and merge them',
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.engine import first_decides, start_processes
    from sta.engine.budgets import changes_of_clips, meet_budgets
    from sta.engine.cli import run_command
    from sta.engine.config import home_of, load_config
    from sta.engine.loop import WHOLE, parse_shard
    from sta.engine.run_folder import RunFolder, check_choice, choose_folder
    from sta.engine.session import build_test_runner, say
    from sta.errors import ConfigError
    from sta.pruning import parse_pruner_text, parse_schedule_text, with_seeds
    from sta.report import evaluation_of, print_evaluation, write_evaluation, write_results
    from sta.report.page import MOST_EXAMPLES, add_examples, write_page


def evaluate(arguments: argparse.Namespace, command: str) -> None:
    if not 0 <= (arguments.examples or 0) <= MOST_EXAMPLES:
        raise ConfigError(f'--examples must be 0 to {MOST_EXAMPLES}, got {arguments.examples}')
    config = load_config(arguments.config, arguments.cfg_options)
    home = home_of(config, arguments.config)
    for part in ('test_cfg', 'test_dataloader'):
        if part not in config:
            raise ConfigError(f'config {arguments.config} defines no {part}')
        if not isinstance(config[part], dict):
            raise ConfigError(f'{part} of {arguments.config} must be a dict, got {config[part]!r}')
    check_choice(
        Path('work_dirs', Path(arguments.config).stem),
        work_dir=None if arguments.work_dir is None else Path(arguments.work_dir),
        resume=arguments.resume,
    )
    lines: list[str] = []
    if arguments.schedules:
        config.test_cfg.schedules = [parse_schedule_text(text) for text in arguments.schedules]
    if arguments.pruners:
        config.test_cfg.pruners = [parse_pruner_text(text) for text in arguments.pruners]
    if arguments.budget:
        pruners, lines = meet_budgets(
            config, config.test_cfg.get('pruners', []), arguments.budget, changes_of_clips
        )
        config.test_cfg.update(schedules=[0], pruners=pruners)
    if arguments.seeds is not None:
        config.test_cfg.pruners = with_seeds(config.test_cfg.get('pruners', []), arguments.seeds)
    if arguments.amp:
        config.test_cfg.precision = arguments.amp
    if arguments.on_nonfinite:
        config.test_cfg.on_nonfinite = arguments.on_nonfinite
    if arguments.max_videos is not None:
        config.test_dataloader.dataset.max_videos = arguments.max_videos
    shard = WHOLE if arguments.shard is None else parse_shard(arguments.shard)
    start_processes(arguments.launcher)
    for line in lines:
        say(line)
    fingerprint: dict[str, str] = {}

    def choose(found: dict[str, str]) -> RunFolder:
        fingerprint.update(found)
        return run_folder(arguments, found, home)

    runner = build_test_runner(
        config,
        arguments.checkpoint,
        choose=choose,
        retry_broken=arguments.retry_broken,
        shard=shard,
    )
    result = runner.test()
    if runner.rank != 0:
        return
    found = evaluation_of(
        result,
        command=command,
        config=arguments.config,
        checkpoint=arguments.checkpoint or '',
        annotations=config.test_dataloader.dataset.get('ann_file'),
        fingerprint=fingerprint,
    )
    print_evaluation(found)
    folder = runner.test_loop.folder
    is_same = result.resumed == result.num_listed and not arguments.retry_broken
    if folder.state == 'finished' and is_same:
        say(f'nothing was left to do; the results are in {folder.path}')
        return
    if shard != WHOLE:  # tools/collect.py draws the plots of the whole
        written = write_results(found, folder.path)
        say(f'written to {folder.path}: {", ".join(path.name for path in written)}')
        return
    written = write_evaluation(found, folder.path)
    if arguments.examples != 0:
        model = getattr(runner.model, 'module', runner.model).eval()
        add_examples(
            config,
            model,
            result,
            folder.path,
            names=found.class_names or (),
            asked=arguments.examples,
        )
    written.append(write_page(found, folder.path))
    say(f'written to {folder.path}: {", ".join(path.name for path in written)}')


def run_folder(arguments: argparse.Namespace, fingerprint: dict[str, str], home: Path) -> RunFolder:
    """Where to write, the same for all processes; says so where an older run is gone on with."""
    chosen = first_decides(
        lambda: choose_folder(
            home,
            fingerprint,
            work_dir=None if arguments.work_dir is None else Path(arguments.work_dir),
            resume=arguments.resume,
        )
    )
    if chosen.state != 'new':
        say(f'going on with the run in {chosen.path}, which was {chosen.state}')
    return chosen


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/test.py ' + shlex.join(words)
    return run_command(lambda: evaluate(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
