"""Find places, directions and drops that keep predictions closest to the whole model's at a cost.

python tools/search_schedule.py configs/sta_vit_k400.py ckpt.pth --budget 0.6 --trials 200
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import DATASETS
from mmengine.config import Config

from sta.analysis import count_costs, solve_budgets
from sta.checkpoints import load_checkpoint
from sta.datasets.annotations import read_annotations, sample
from sta.datasets.errors import DataError
from sta.engine import parse_pruner_text
from sta.engine.command_line import run_command
from sta.engine.config import ConfigError, load_config
from sta.engine.fingerprint import fingerprint_of
from sta.engine.prediction import files_dataset, find_videos
from sta.engine.run_folder import choose_folder
from sta.engine.session import build_model, build_test_runner, clip_shape, explained
from sta.evaluation import EvaluationResult, paired_change, top_k_correct
from sta.pruning import Variant
from sta.report import print_accuracy_table, write_results
from sta.search import SearchClips, objective_of, search, space_of
from sta.search.files import write_config, write_list, write_search
from sta.search.space import Stages


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='e.g. configs/sta_vit_k400.py')
    parser.add_argument('checkpoint')
    parser.add_argument(
        '--budget', type=float, required=True, metavar='SHARE', help='of the unpruned GFLOPs'
    )
    parser.add_argument('--trials', type=int, default=200, metavar='N', help='default %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of the sampler; default %(default)s')
    parser.add_argument('--pruner', default='sta', metavar='NAME', help='default %(default)s')
    parser.add_argument(
        '--num-stages', type=int, default=3, metavar='N', help='of a ViT; default %(default)s'
    )
    parser.add_argument(
        '--clips',
        metavar='VIDEO|FOLDER',
        help='unlabelled videos to search on; default: some of the test list, which are then left '
        'out of the comparison',
    )
    parser.add_argument(
        '--search-videos', type=int, default=128, metavar='N', help='default %(default)s'
    )
    parser.add_argument('--batch-size', type=int, default=8, help='clips; default %(default)s')
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='default work_dirs/CONFIG/search_SHARE'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override the config'
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace, command: str) -> None:
    for name in ('trials', 'search_videos', 'batch_size', 'num_stages'):
        if getattr(arguments, name) < 1:
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} must be at least 1, got {getattr(arguments, name)}')
    config = load_config(arguments.config, arguments.cfg_options)
    for part in ('test_cfg', 'test_dataloader'):
        if part not in config:
            raise ConfigError(f'config {arguments.config} defines no {part}')
    stem = Path(arguments.config).stem
    out = arguments.out or Path('work_dirs', stem, f'search_{arguments.budget:g}')
    pruner = parse_pruner_text(arguments.pruner)
    model = build_model(config)
    shape = clip_shape(model.backbone)
    (paper,) = solve_budgets(model, pruner, [arguments.budget], shape)
    space = space_of(model.backbone, arguments.num_stages)
    print(load_checkpoint(model, arguments.checkpoint))
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = model.to(device).eval()
    dataset, heldout = datasets(config, arguments, out)
    print(f'searching on {len(dataset)} videos, comparing on {len(heldout)}', flush=True)
    clips = SearchClips.of(dataset)

    @functools.cache
    def counted(text: str) -> float:
        (cost,) = count_costs(model, [Variant('trial', pruner, json.loads(text))], shape)
        return cost.gflops_per_view

    settings = {'budget': arguments.budget, 'stages': arguments.num_stages, 'pruner': pruner}
    variants = [Variant(json.dumps(settings, sort_keys=True))]
    found = search(
        space,
        lambda stages: counted(json.dumps(stages)) if stages else counted('null'),
        objective_of(model, pruner, clips.clips, batch_size=arguments.batch_size),
        budget=paper.budget_gflops,
        num_trials=arguments.trials,
        seed=arguments.seed,
        path=prepared(out) / 'search.sqlite',
        fingerprint=fingerprint_of(config, model, dataset, variants, 'fp32'),
        said=functools.partial(print, flush=True),
    )
    line = (
        f'{found.gflops_per_view:.4g} GFLOPs per view, budget {paper.budget_gflops:.4g}; KL '
        f'{found.distance.divergence_nats:.4g} nats, agreement '
        f'{found.distance.agreement_percent:.1f} % on {len(clips.clips)} clips'
    )
    print(f'found: {line}')
    if found.paper_distance:
        print(
            f"the paper's schedule there: KL {found.paper_distance.divergence_nats:.4g} nats, "
            f'agreement {found.paper_distance.agreement_percent:.1f} %'
        )
    new = out / f'{stem}_{arguments.budget:g}.py'
    facts = {'command': command, 'budget': arguments.budget, 'seed': arguments.seed}
    write_config(
        new,
        base=arguments.config,
        stages=found.stages,
        paper=paper.schedule,
        pruner=pruner,
        command=command,
        found=line,
    )
    write_search(out / 'search.json', found, {**facts, 'left_out': clips.num_broken})
    print(f'written to {out}: {new.name}, search.json')
    if heldout:
        compare(config, arguments, out, pruner, paper.schedule, found.stages, command)


def datasets(config: Config, arguments: argparse.Namespace, out: Path) -> tuple[Any, list]:
    """What to search on, and the labelled rest to compare on, which is written as a list."""
    settings = config.test_dataloader.dataset
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        whole = read_annotations(settings.ann_file, num_classes=settings.get('num_classes'))
        if arguments.clips:
            files = sample(find_videos(arguments.clips), arguments.search_videos)
            return files_dataset(config, files), whole
        chosen = sample(whole, arguments.search_videos)
        if len(chosen) == len(whole):
            raise DataError(
                f'--search-videos {arguments.search_videos} leaves none of the {len(whole)} videos '
                f'of {settings.ann_file} to compare on: take fewer, or give --clips'
            )
        left = set(chosen)
        heldout = [entry for entry in whole if entry not in left]
        write_list(prepared(out) / 'search.txt', chosen)
        write_list(out / 'heldout.txt', heldout)
        searched = {**settings, 'ann_file': str(out / 'search.txt'), 'max_videos': None}
        settings.ann_file = str(out / 'heldout.txt')
        return DATASETS.build(searched), heldout


def compare(
    config: Config,
    arguments: argparse.Namespace,
    out: Path,
    pruner: dict[str, Any],
    paper: Any,
    stages: Stages,
    command: str,
) -> None:
    """Accuracy of both schedules on the videos that were not searched on, and their difference."""
    schedules = [dict(name='paper', schedule=paper), dict(name='searched', schedule=stages)]
    config.test_cfg.schedules, config.test_cfg.pruners = [0, *schedules], [pruner]
    digest = hashlib.sha256(json.dumps(stages).encode()).hexdigest()[:8]
    runner = build_test_runner(
        config,
        arguments.checkpoint,
        choose=lambda fingerprint: choose_folder(
            out, fingerprint, work_dir=out / f'heldout_{digest}', resume=None
        ),
    )
    result = runner.test()
    print_accuracy_table(result)
    print(difference(result))
    folder = runner.test_loop.folder.path
    write_results(
        result, folder, command=command, config=arguments.config, checkpoint=arguments.checkpoint
    )
    print(f'written to {folder}')


def difference(result: EvaluationResult) -> str:
    """The schedule found against the paper's, in a line."""
    paper, searched = (top_k_correct(v.scores, result.labels, 1) for v in result.variants[-2:])
    change = paired_change(paper, searched)
    return (
        f"searched against the paper's schedule at the same cost, {len(result.labels)} held-out "
        f'videos: {change.points:+.2f} points of top-1, paired 95 % interval {change.low:+.2f} to '
        f'{change.high:+.2f}, McNemar p {change.p_value:.3f}'
    )


def prepared(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/search_schedule.py ' + shlex.join(words)
    return run_command(lambda: run(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
