"""Run-length tokenization from the command line: its cost is what the evaluated clips make it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.engine.config import load_config
from sta.engine.session import build_test_runner
from sta.pruning import tubelet_changes

from .tiny import Tiny, run_tool

RLT = ('--pruners', 'rlt:threshold=0.6', 'sta', '--schedules', '0', '2')


def row(folder: Path, name: str) -> dict:
    rows = json.loads((folder / 'results.json').read_text())['rows']
    return next(row for row in rows if row['name'] == name)


def views(config: Path, checkpoint: Path, folder: Path) -> torch.Tensor:
    """Every view of the data set, (videos * views, 3, T, H, W), normalised."""
    loaded = load_config(config, [])
    loaded.work_dir = str(folder)
    runner = build_test_runner(loaded, checkpoint)
    found = []
    for sample in runner.test_loop.dataloader.dataset:
        inputs = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        found.append(runner.model.data_preprocessor(inputs, training=False)['inputs'][0])
    return torch.cat(found)


def cost(tokens: np.ndarray) -> np.ndarray:
    """GFLOPs of the small model by hand: see tests/analysis/test_input_cost.py."""
    width = 24
    block = tokens * width * (12 * width + 10) + 2 * tokens**2 * width
    return (3 * block + 128 * width * 3 * 128 + width * 7 + 5 * width) / 1e9


def test_tokens_and_gflops_are_means_over_the_views(tiny: Tiny, tmp_path: Path, capsys) -> None:
    work = tmp_path / 'run'
    code = run_tool('test', tiny.six_views, tiny.checkpoint, *RLT, '--work-dir', work)
    assert code == 0
    assert 'GFLOPs of rlt depend on the clip: means' in ' '.join(capsys.readouterr().out.split())
    changes = tubelet_changes(views(tiny.six_views, tiny.checkpoint, tmp_path / 'views'), (8, 4, 4))
    tokens = 16 + (changes >= 0.6).flatten(1).sum(1).numpy()
    assert tokens.min() < tokens.max(), 'the clips should differ'
    found = row(work, 'rlt-0.6')
    assert found['gflops_per_view'] == pytest.approx(cost(tokens).mean(), rel=1e-6)
    assert found['tokens_kept'] == round(tokens.mean()) and found['cost_is_average'] is True
    assert row(work, 'sta-2')['cost_is_average'] is False
    assert row(work, 'unpruned')['gflops_per_view'] == pytest.approx(cost(np.array(128.0)))


def test_a_run_that_goes_on_remembers_what_earlier_views_cost(tiny: Tiny, tmp_path: Path) -> None:
    one, other = tmp_path / 'one', tmp_path / 'other'
    base = ('test', tiny.six_views, tiny.checkpoint, *RLT, '--work-dir')
    assert run_tool(*base, one) == 0 and run_tool(*base, other) == 0
    # Everything is stored; without results the run counts as cut off and is put together again.
    (other / 'results.json').unlink()
    assert run_tool(*base, other) == 0
    assert row(one, 'rlt-0.6')['gflops_per_view'] == row(other, 'rlt-0.6')['gflops_per_view']


def test_a_budget_chooses_the_threshold_on_clips(tiny: Tiny, tmp_path: Path, capsys) -> None:
    work = tmp_path / 'run'
    arguments = ('--pruners', 'rlt', '--budget', '0.8', '--work-dir', work)
    assert run_tool('test', tiny.six_views, tiny.checkpoint, *arguments) == 0
    said = capsys.readouterr().out
    threshold, gflops, clips = re.search(
        r'rlt has threshold (\S+), (\S+) GFLOPs on average over (\d+) views', said
    ).groups()
    assert int(clips) == 42  # all there are: 7 videos of 6 views
    found = row(work, f'rlt-{float(threshold):g}')
    assert found['gflops_per_view'] == pytest.approx(float(gflops), rel=1e-3)
    assert found['gflops_per_view'] <= 0.8 * row(work, 'unpruned')['gflops_per_view']


@pytest.mark.parametrize(
    'arguments, words',
    [
        (('--pruners', 'rlt:threshold=-1'), ('threshold must be', '-1')),
        (('--pruners', 'rlt:threshold=much'), ('threshold must be', "'much'")),
        (('--pruners', 'rlt:tau=1'), ("no argument ['tau']", 'threshold')),
        (('--pruners', 'rlt', '--budget', '0.05'), ('rlt: budget 0.05', 'always stays')),
        (('--pruners', 'rlt', '--budget', '2'), ('rlt: ', 'between 0 and 1')),
    ],
)
def test_what_can_go_wrong(tiny: Tiny, tmp_path: Path, capsys, arguments, words) -> None:
    code = run_tool(
        'test', tiny.one_view, tiny.checkpoint, *arguments, '--work-dir', tmp_path / 'w'
    )
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and all(word in line for word in words), line


def test_counting_without_clips_is_refused(tiny: Tiny, capsys) -> None:
    for arguments in (('--pruners', 'rlt'), ('--pruners', 'rlt', '--budget', '0.8')):
        assert run_tool('count_flops', tiny.one_view, *arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert 'depends on the clips' in line and 'tools/test.py' in line
