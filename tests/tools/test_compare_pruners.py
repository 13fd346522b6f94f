"""One pruner against the others at nearest cost, worked by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from sta.evaluation import SummaryRow, mcnemar_p
from sta.report.folder import NOTHING

from .tiny import Tiny, run_tool

NAMES = ('unpruned', 'sta-4', 'sta-8', 'random[seed=0]-5', 'random[seed=1]-5', 'tome-7')
RIGHT = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 0, 1, 1],
        [1, 1, 1, 1, 1, 0, 0, 1],
    ]
)


def row(name: str, pruner: str, gflops: float, *averages: str) -> dict:
    found = SummaryRow(name, pruner, 9, (9,), gflops, gflops, 0.0, 50.0, 50.0, None, 1.0)
    return {**dataclasses.asdict(found), 'averages': averages}


ROWS = [
    row('unpruned', '', 10.0),
    row('sta-4', 'sta', 8.0),
    row('sta-8', 'sta', 6.0),
    row('random-5 (2 seeds)', 'random', 7.5, *NAMES[3:5]),
    row(NAMES[3], 'random', 7.5),
    row(NAMES[4], 'random', 7.5),
    row('tome-7', 'tome', 6.2),
]


def write(folder: Path, rows: object = ROWS) -> Path:
    folder.mkdir()
    scores = np.stack([1 - RIGHT, RIGHT], axis=-1).astype(np.float32)
    labels, videos = np.ones(8, np.int64), np.array([f'{i}.mp4' for i in range(8)])
    np.savez(
        folder / 'scores.npz', variants=np.array(NAMES), scores=scores, labels=labels, names=videos
    )
    (folder / 'results.json').write_text(json.dumps({**NOTHING, 'rows': rows}))
    return folder


def test_every_variant_meets_the_one_of_nearest_cost(tmp_path: Path, capsys) -> None:
    folder, out = write(tmp_path / 'run'), tmp_path / 'out.csv'
    assert run_tool('compare_pruners', folder, '--csv', out) == 0
    said = capsys.readouterr().out
    with out.open() as file:
        drawn, tome = csv.DictReader(file)
    assert (drawn['name'], drawn['against']) == ('random-5 (2 seeds)', 'sta-4')
    assert float(drawn['points']) == pytest.approx(100 * (4.0 - 6) / 8) and drawn['p_value'] == ''
    assert (tome['name'], tome['against'], float(tome['gflops_against'])) == (
        'tome-7',
        'sta-8',
        6.0,
    )
    assert float(tome['points']) == pytest.approx(100 * 2 / 8)
    assert float(tome['p_value']) == mcnemar_p(0, 2) == 0.5
    assert float(tome['low']) == 0.0 < 25.0 < float(tome['high'])
    assert '+25.00' in said and '-25.00' in said and 'the same 8 videos' in ' '.join(said.split())


def test_two_videos_are_too_few(tmp_path: Path, capsys) -> None:
    folder = write(tmp_path / 'run')
    with np.load(folder / 'scores.npz') as file:
        arrays = {name: file[name] for name in file}
    arrays['scores'] = arrays['scores'][:, :2]
    arrays |= {name: arrays[name][:2] for name in ('labels', 'names')}
    np.savez(folder / 'scores.npz', **arrays)
    assert run_tool('compare_pruners', folder) == 0
    said = capsys.readouterr().out
    assert said.count('too few  too few') == 2 and '..' not in said


@pytest.mark.parametrize(
    'family, words',
    [
        ('rlt', ("no variant of 'rlt'", 'sta, random, tome')),
        ('random', ('several seeds',)),
    ],
)
def test_families_that_cannot_be_compared_with(tmp_path: Path, capsys, family, words) -> None:
    assert run_tool('compare_pruners', write(tmp_path / 'run'), '--with', family) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    'rows, words',
    [
        ([], 'must hold the rows'),
        ([{'name': 'sta-4'}], "no 'pruner'"),
        (ROWS[:3], "nothing but 'sta'"),
        ([*ROWS, row('rlt-1', 'rlt', 5.0)], "no scores of 'rlt-1'"),
    ],
)
def test_results_that_are_not_whole(tmp_path: Path, capsys, rows, words) -> None:
    assert run_tool('compare_pruners', write(tmp_path / 'run', rows)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_a_real_evaluation(tiny: Tiny, tmp_path: Path, capsys) -> None:
    arguments = ('--schedules', '0', '2', '--pruners', 'sta', 'random', 'tome', '--seeds', '3')
    work = tmp_path / 'run'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *arguments, '--work-dir', work) == 0
    capsys.readouterr()
    assert run_tool('compare_pruners', work) == 0
    said = capsys.readouterr().out
    assert 'random-2 (3 seeds)' in said and 'tome-2' in said and 'sta-2' in said
