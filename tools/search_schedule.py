"""Find places, directions and drops that keep predictions closest to the whole model's at a cost.

python tools/search_schedule.py configs/sta_vit_k400.py ckpt.pth --budget 0.6 --trials 200
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_cfg_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', type=find_path, help='e.g. configs/sta_vit_k400.py')
    parser.add_argument('checkpoint', type=find_path)
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
        type=find_path,
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
    add_cfg_options(parser)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    import torch
    from optuna import Study
    from torch import nn

    from sta.analysis import solve_budgets
    from sta.checkpoints import load_checkpoint
    from sta.engine.cli import run_command
    from sta.engine.config import load_config
    from sta.engine.run_folder import fingerprint_of
    from sta.engine.session import build_model, check_videos
    from sta.errors import ConfigError
    from sta.pruning import parse_pruner_text
    from sta.pruning.variants import pruner_name
    from sta.report import evaluation_of, print_evaluation, write_results
    from sta.search import (
        MAX_SEED,
        Found,
        SearchClips,
        SearchSpace,
        compare,
        difference_lines,
        gflops_of,
        objective_of,
        open_study,
        overrides_of,
        search,
        search_videos,
        space_of,
    )
    from sta.search.outputs import prepare_folder, write_config, write_search


def run(arguments: argparse.Namespace, command: str) -> None:
    check(arguments)
    config = load_config(arguments.config, arguments.cfg_options)
    for part in ('test_cfg', 'test_dataloader'):
        if not isinstance(config.get(part), Mapping):
            raise ConfigError(f'config {arguments.config} defines no {part}')
    overrides = overrides_of(config, arguments.cfg_options)
    stem, share = Path(arguments.config).stem, f'{arguments.budget:g}'
    out = prepare_folder(arguments.out or Path('work_dirs', stem, f'search_{share}'))
    pruner = parse_pruner_text(arguments.pruner)
    model = build_model(config)
    (paper,) = solve_budgets(model, pruner, [arguments.budget], model.backbone.clip_shape)
    space = space_of(model.backbone, arguments.num_stages)
    videos = search_videos(config, arguments.search_videos, clips=arguments.clips)
    check_videos(videos.dataset)
    print(load_checkpoint(model, arguments.checkpoint))
    parts = fingerprint_of(config, model, videos.dataset, [], 'fp32') | videos.fingerprint
    name = pruner_name(pruner, model.backbone.pruner_defaults)
    study = open_study(out / 'search.sqlite', parts | typed(arguments, name))
    heldout = videos.write(out)
    print(f'searching on {len(videos.dataset)} videos, comparing on {videos.compared}', flush=True)
    clips = SearchClips.of(videos.dataset)
    found = searched(arguments, model, study, space, pruner, clips, paper.budget_gflops)
    line = said(found, paper.budget_gflops, len(clips.clips))
    facts = {'command': command, 'budget': arguments.budget, 'seed': arguments.seed}
    facts |= {'left_out': clips.num_broken, 'compared_on': videos.compared}
    write_search(out / 'search.json', found, facts)
    variants = dict(pruner=pruner, paper=paper.schedule, stages=found.stages, heldout=heldout)
    texts = dict(base=arguments.config, command=command, found=line)
    texts |= dict(all_searched=not videos.heldout)
    write_config(out / f'{stem}_{share}.py', **texts, overrides=overrides, **variants)
    print(f'written to {out}: {stem}_{share}.py, search.json')
    result, folder = compare(config, arguments.checkpoint, out, videos=videos, **variants)
    files = dict(config=arguments.config, checkpoint=arguments.checkpoint)
    evaluation = evaluation_of(result, command=command, **files)
    print_evaluation(evaluation)
    for line in difference_lines(result, videos):
        print(line)
    write_results(evaluation, folder)
    print(f'written to {folder}')


def searched(
    arguments: argparse.Namespace,
    model: nn.Module,
    study: Study,
    space: SearchSpace,
    pruner: Mapping[str, Any],
    clips: SearchClips,
    budget_gflops: float,
) -> Found:
    model = model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    return search(
        study,
        space,
        gflops_of(model, pruner, model.backbone.clip_shape),
        objective_of(
            model, pruner, clips.clips, batch_size=arguments.batch_size, names=clips.names
        ),
        budget=budget_gflops,
        num_trials=arguments.trials,
        seed=arguments.seed,
        said=functools.partial(print, flush=True),
    )


def said(found: Found, budget_gflops: float, num_clips: int) -> str:
    """Print what was found beside the paper's; the line about it."""
    line = (
        f'{found.gflops_per_view:.4g} GFLOPs per view, budget {budget_gflops:.4g}; KL '
        f'{found.distance.divergence_nats:.4g} nats, agreement '
        f'{found.distance.agreement_percent:.1f} % on {num_clips} clips'
    )
    print(f'found: {line}')
    if found.paper_distance:
        print(
            f"the paper's schedule there: KL {found.paper_distance.divergence_nats:.4g} nats, "
            f'agreement {found.paper_distance.agreement_percent:.1f} %'
        )
    return line


def check(arguments: argparse.Namespace) -> None:
    """What can be seen to be wrong before any work."""
    for name in ('trials', 'search_videos', 'batch_size', 'num_stages'):
        if getattr(arguments, name) < 1:
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} must be at least 1, got {getattr(arguments, name)}')
    if not 0 <= arguments.seed <= MAX_SEED:
        raise ConfigError(f'--seed must be between 0 and {MAX_SEED}, got {arguments.seed}')


def typed(arguments: argparse.Namespace, pruner: str) -> dict[str, str]:
    """Options that a search cannot be gone on with when they are others; pruner is its name."""
    return {
        '--budget': str(arguments.budget),
        '--num-stages': str(arguments.num_stages),
        '--pruner': pruner,
        '--seed': str(arguments.seed),
    }


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/search_schedule.py ' + shlex.join(words)
    return run_command(lambda: run(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
