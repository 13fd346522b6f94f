"""Fidelity from the command line, against the scores of an evaluation of the same videos."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sta.report import read_scores

from .tiny import NUM_VIDEOS, run_tool

VARIANTS = ('--schedules', '0', '4', '--pruners', 'sta', 'random', 'tome', 'rlt:threshold=0.6')


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_predictions_are_those_of_an_evaluation(tiny, tmp_path, capsys) -> None:
    found, wanted = tmp_path / 'fidelity', tmp_path / 'run'
    assert (
        run_tool('measure_fidelity', tiny.six_views, tiny.checkpoint, *VARIANTS, '--out', found)
        == 0
    )
    said = capsys.readouterr().out
    assert run_tool('test', tiny.six_views, tiny.checkpoint, *VARIANTS, '--work-dir', wanted) == 0
    scores = read_scores(wanted / 'scores.npz')
    evaluated = {row['name']: row for row in rows_of(wanted / 'results.csv')}
    rows = rows_of(found / 'fidelity.csv')
    assert [row['name'] for row in rows] == list(scores.variants)
    top = scores.scores.argmax(-1)
    for row, own, probabilities in zip(rows, top, scores.scores, strict=True):
        assert row['name'] in said and int(row['num_videos']) == NUM_VIDEOS
        assert float(row['agreement_percent']) == pytest.approx(100 * (own == top[0]).mean())
        assert float(row['top1_percent']) == pytest.approx(
            float(evaluated[row['name']]['top1_percent'])
        )
        whole = scores.scores[0].astype(float)
        divergence = (whole * np.log(whole / probabilities)).sum(-1).mean()
        assert float(row['divergence_nats']) == pytest.approx(divergence, abs=1e-6)
        if not row['name'].startswith('rlt'):
            gflops = float(evaluated[row['name']]['gflops_per_view'])
            assert float(row['gflops_per_view']) == pytest.approx(gflops)
    assert rows[-1]['gflops_per_view'] == ''
    assert float(rows[0]['cosine']) == pytest.approx(1.0)
    assert (
        'python tools/measure_fidelity.py'
        in json.loads((found / 'fidelity.json').read_text())['command']
    )


def test_classes_add_up_to_the_whole(tiny, tmp_path) -> None:
    out = tmp_path / 'out'
    assert run_tool('measure_fidelity', tiny.one_view, tiny.checkpoint, '--out', out) == 0
    whole, classes = rows_of(out / 'fidelity.csv'), rows_of(out / 'fidelity_classes.csv')
    for row in whole:
        own = [part for part in classes if part['name'] == row['name']]
        assert sum(int(part['num_videos']) for part in own) == NUM_VIDEOS
        for name in ('cosine', 'agreement_percent', 'top1_percent'):
            mean = sum(float(part[name]) * int(part['num_videos']) for part in own) / NUM_VIDEOS
            assert mean == pytest.approx(float(row[name]))


@pytest.mark.parametrize(
    'arguments, words',
    [
        (('--still', '-1'), ('--still must be a number of at least 0', '-1')),
        (('--still', 'nan'), ('--still must be a number of at least 0', 'nan')),
        (('--still', 'inf'), ('--still must be a number of at least 0', 'inf')),
        (('--max-videos', '0'), ('max_videos must be at least 1',)),
        (('--pruners', 'stta'), ("unknown pruner 'stta'",)),
        (('--budget', '0.01'), ('budget 0.01',)),
        (('--schedules', '99'), ('99', 'stage')),
    ],
)
def test_what_can_go_wrong(tiny, tmp_path, capsys, arguments, words) -> None:
    command = ('measure_fidelity', tiny.one_view, tiny.checkpoint, *arguments)
    assert run_tool(*command, '--out', tmp_path / 'out') == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(word in line for word in words), line
