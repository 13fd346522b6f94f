"""The command lines with a VideoSwin: the same tables, scores and refusals as with a ViT."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sta.report import read_scores

from .tiny import ROOT, child_config, run_tool, save_weights

SWIN = """
model = dict(
    backbone=dict(
        _delete_=True,
        type='STASwinTransformer3D',
        arch=dict(embed_dims=8, depths=[2, 2, 2], num_heads=[2, 2, 4]),
        window_size=(2, 3, 3),
        drop_path_rate=0.0,
        num_frames=16,
        img_size=32,
    ),
    cls_head=dict(in_channels=32),
)
test_cfg = dict(schedules=[0, [4, 1], [10, 2]], pruners=[dict(type='STAPruner')])
"""
"""Grids of 8 x 8 x 8, 8 x 4 x 4 and 8 x 2 x 2 tokens."""


@pytest.fixture(scope='module')
def swin(tiny, tmp_path_factory) -> tuple[Path, Path]:
    """A config and a checkpoint."""
    folder = tmp_path_factory.mktemp('swin')
    config = child_config(folder / 'swin.py', tiny.six_views, SWIN)
    save_weights(config, folder / 'swin.safetensors')
    return config, folder / 'swin.safetensors'


def test_one_pass_gives_the_scores_of_separate_runs(swin, tmp_path) -> None:
    config, checkpoint = swin
    pruners = ('--pruners', 'sta', 'random', 'tube-random')
    assert run_tool('test', config, checkpoint, '--work-dir', tmp_path / 'all', *pruners) == 0
    found = read_scores(tmp_path / 'all' / 'scores.npz')
    assert found.variants[:3] == ('unpruned', 'sta-4,1', 'sta-10,2') and len(found.variants) == 7
    for i, scores in enumerate(found.scores):
        assert all(np.abs(scores - other).max() > 1e-4 for other in found.scores[:i])
    one = ('--schedules', '10,2', '--pruners', 'tube-random', '--work-dir', tmp_path / 'one')
    assert run_tool('test', config, checkpoint, *one) == 0
    alone = read_scores(tmp_path / 'one' / 'scores.npz')
    np.testing.assert_allclose(alone.scores[0], found.scores[-1], atol=1e-5)
    rows = {
        row['name']: row for row in json.loads((tmp_path / 'all/results.json').read_text())['rows']
    }
    assert [rows[name]['tokens_kept'] for name in ('unpruned', 'sta-4,1')] == [32, 24]


def test_a_merging_pruner_is_refused(swin, refused) -> None:
    said = ('ToMeMergePruner merges tokens', 'grid')
    for tool in ('test', 'count_flops'):
        refused(tool, swin[0], '--pruners', 'tome', said=said)


def test_a_pruner_that_leaves_frames_uneven_is_refused(swin, refused) -> None:
    said = ('ToMeDropPruner drops more from some frames', 'as many tokens in every frame')
    for tool in ('test', 'count_flops'):
        refused(tool, swin[0], '--pruners', 'tome-drop', said=said)


@pytest.mark.parametrize(
    'schedule, said',
    [
        ('16,0', ('stage 1', '4 x 4', 'at most 15')),
        ('100', ('multiple of 8', '96 and 104')),
        ('2,2,2', ('merged 2 times',)),
    ],
)
def test_a_schedule_that_does_not_fit(swin, refused, schedule, said) -> None:
    for tool in ('test', 'count_flops', 'benchmark'):
        refused(tool, swin[0], '--schedules', schedule, said=said)


def test_a_search_with_another_first_frame_is_another_search(swin, tmp_path, refused) -> None:
    """VideoSwin's default is tome_rounds: the ViT's, tome, is not plain sta there."""
    search = ('--budget', '0.9', '--trials', '1', '--search-videos', '1', '--out', tmp_path)
    assert run_tool('search_schedule', *swin, *search) == 0
    other = (*swin, *search, '--pruner', 'sta:first_frame=tome')
    refused('search_schedule', *other, said=('--pruner sta, not sta[first_frame=tome]',))


def test_speeds_and_where_the_time_goes(swin, tmp_path, capsys) -> None:
    arguments = ('--schedules', '0', '10,2', '--vs', 'mmaction2', '--rounds', '2', '--breakdown')
    assert run_tool('benchmark', swin[0], *arguments, '--csv', tmp_path / 'speed.csv') == 0
    lines = (tmp_path / 'speed.csv').read_text().splitlines()[1:]
    assert [row['name'] for row in csv.DictReader(lines)] == ['mmaction2', 'unpruned', 'sta-10,2']
    table = capsys.readouterr().out.split('Where the time goes')[1]
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
    for name in ('mmaction2', 'unpruned', 'sta-10,2'):
        *parts, total = map(float, rows[name])
        assert len(parts) == 6 and sum(parts) == pytest.approx(total, abs=0.4)
        assert (parts[3] > 0) == (name == 'sta-10,2')


def test_the_costs_of_the_paper(capsys) -> None:
    assert (
        run_tool('count_flops', ROOT / 'configs/sta_swin_k400.py', '--schedules', '0', '320') == 0
    )
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    found = {row[0]: row[1:] for row in rows}
    assert found['unpruned'] == ['784', '-', '281.92', '3383.1', '0.0', '88.05']
    assert found['sta-320'] == ['784', '7424', '1216', '144', '149.02', '1788.3', '47.1', '88.05']
