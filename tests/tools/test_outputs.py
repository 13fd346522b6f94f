"""What an evaluation leaves behind, and what its flags change."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from sta.report import read_scores

from .tiny import NUM_VIDEOS, run_tool

FILES = {
    'accuracy_vs_gflops.png',
    'accuracy_vs_gflops.svg',
    'accuracy_vs_throughput.png',
    'accuracy_vs_throughput.svg',
    'classes.csv',
    'report.html',
    'results.csv',
    'results.json',
    'results.md',
    'scores.npz',
}
NAMES = ['unpruned', 'sta-2', 'sta-4', 'random-2', 'random-4']


@pytest.fixture(scope='module')
def run(tiny, tmp_path_factory, drawing) -> Path:
    folder = tmp_path_factory.mktemp('outputs') / 'run'
    arguments = ('--pruners', 'sta', 'random', '--work-dir', folder)
    with drawing():
        assert run_tool('test', tiny.six_views, tiny.checkpoint, *arguments) == 0
    return folder


def test_every_file_is_written_and_no_part_of_one(run) -> None:
    found = {path.name for path in run.iterdir() if path.is_file()}
    assert found >= FILES
    assert not [name for name in found if 'part' in name]


def test_json_csv_and_markdown_say_the_same(run, tiny) -> None:
    found = json.loads((run / 'results.json').read_text())
    assert [row['name'] for row in found['rows']] == NAMES
    with (run / 'results.csv').open() as file:
        table = list(csv.DictReader(file))
    for row, line in zip(found['rows'], table, strict=True):
        for key in ('gflops_per_view', 'gflops_per_video', 'top1_percent', 'clips_per_s'):
            assert float(line[key]) == pytest.approx(row[key], rel=1e-6)
        assert line['tokens_after_stages'].split() == list(map(str, row['tokens_after_stages']))
    lines = (run / 'results.md').read_text().splitlines()
    for row, line in zip(found['rows'], lines[2:], strict=False):
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        assert cells[0] == row['name']
        assert float(cells[1]) == pytest.approx(row['gflops_per_view'], abs=0.0006)
        assert float(cells[3]) == pytest.approx(row['top1_percent'], abs=0.006)


def test_the_numbers_follow_from_the_scores(run, tiny) -> None:
    rows = json.loads((run / 'results.json').read_text())['rows']
    found = read_scores(run / 'scores.npz')
    assert found.variants == tuple(NAMES)
    best = [(scores.argmax(1) == np.array(tiny.labels)).sum() for scores in found.scores]
    for row, hits in zip(rows, best, strict=True):
        assert row['top1_percent'] == pytest.approx(100 * hits / NUM_VIDEOS)
        assert row['top1_change'] == pytest.approx(100 * (hits - best[0]) / NUM_VIDEOS)
        saved = 1 - row['gflops_per_view'] / rows[0]['gflops_per_view']
        assert row['reduction_percent'] == pytest.approx(100 * saved)
        assert row['gflops_per_video'] == pytest.approx(6 * row['gflops_per_view'])
        assert row['clips_per_s'] > 0
    assert [row['tokens_after_stages'] for row in rows[:3]] == [[], [112, 104, 100], [96, 80, 72]]


def test_how_it_was_made_is_written_down(run, tiny) -> None:
    made = json.loads((run / 'results.json').read_text())['environment']
    assert made['num_videos'] == NUM_VIDEOS
    assert made['views_per_video'] == 6
    assert made['precision'] == 'fp32'
    assert made['checkpoint'] == str(tiny.checkpoint)
    assert made['config'] == str(tiny.six_views)
    assert made['command'].startswith(f'python tools/test.py {tiny.six_views} {tiny.checkpoint}')
    assert 0 <= made['wait_share'] <= 1


def test_the_plots_are_pictures_of_every_pruner(run) -> None:
    picture = cv2.imread(str(run / 'accuracy_vs_gflops.png'))
    assert min(picture.shape[:2]) > 400 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    text = (run / 'accuracy_vs_gflops.svg').read_text()
    assert ElementTree.fromstring(text).tag.endswith('svg')
    assert all(f'<!-- {name} -->' in text for name in ('sta', 'random', 'no pruning'))


def test_the_table_names_every_variant_and_file(tiny, tmp_path, capsys) -> None:
    folder = tmp_path / 'run'
    run_tool('test', tiny.one_view, tiny.checkpoint, '--pruners', 'sta', '--work-dir', folder)
    said = capsys.readouterr()
    found = re.findall(r'^(unpruned|sta-\d+) +[\d.]+ +([\d.]+)', said.out, re.M)
    assert [name for name, _ in found] == ['unpruned', 'sta-2', 'sta-4']
    saved = [float(percent) for _, percent in found]
    assert saved[0] == 0 < saved[1] < saved[2] < 60
    assert '1 GFLOP = 1e9 multiply-accumulates' in ' '.join(said.out.split())
    assert f'{NUM_VIDEOS} videos x 1 view.' in said.out
    folder, names = re.fullmatch(r'written to (.+): (.+)', said.out.splitlines()[-1]).groups()
    assert set(names.split(', ')) == FILES
    assert all((Path(folder) / name).is_file() for name in FILES)
    assert said.err.splitlines()[-1].startswith(f'evaluated {NUM_VIDEOS}/{NUM_VIDEOS} videos, ')


def test_the_default_folder_is_named_after_config_and_time(tiny, tmp_path, capsys) -> None:
    """Random weights are said to be random."""
    assert run_tool('test', tiny.one_view, '--schedules', '0', '--max-videos', '1') == 0
    assert 'random weights' in capsys.readouterr().out.splitlines()[0]
    (folder,) = (tmp_path / 'work_dirs' / 'one_view').iterdir()
    assert re.fullmatch(r'20\d{6}_\d{6}', folder.name)
    assert FILES <= {path.name for path in folder.iterdir()}


@pytest.fixture
def evaluate(tiny, tmp_path):
    """Run with these arguments; gives results.json and, as 'scores', the scores."""

    def run(*arguments: object) -> dict:
        folder = tmp_path / f'run_{len(list(tmp_path.iterdir()))}'
        given = (tiny.one_view, tiny.checkpoint, '--work-dir', folder, *arguments)
        assert run_tool('test', *given) == 0
        found = json.loads((folder / 'results.json').read_text())
        return {**found, 'scores': read_scores(folder / 'scores.npz')}

    return run


def test_flags_come_before_the_config(evaluate) -> None:
    found = evaluate('--schedules', '3', '1,2,3', '--pruners', 'random:seed=5', 'tome')
    assert [(v['name'], v['schedule'], v['pruner']) for v in found['variants']] == [
        ('random[seed=5]-3', 3, {'type': 'RandomPruner', 'seed': 5}),
        ('random[seed=5]-1,2,3', [1, 2, 3], {'type': 'RandomPruner', 'seed': 5}),
        ('tome-3', 3, {'type': 'ToMeMergePruner'}),
        ('tome-1,2,3', [1, 2, 3], {'type': 'ToMeMergePruner'}),
    ]
    assert all(row['top1_change'] is None for row in found['rows'])  # nothing to compare with


def test_options_come_before_the_config_too(evaluate) -> None:
    options = ['test_cfg.schedules=[0, 3]', 'model.backbone.num_frames=16']
    options.append("test_cfg.pruners=[{'type': 'STAPruner', 'name': 'ours'}]")
    found = evaluate('--cfg-options', *options)
    assert [row['name'] for row in found['rows']] == ['unpruned', 'ours-3']


def test_tokens_are_those_of_the_views_and_stages_in_python_syntax(evaluate) -> None:
    """A model made for 48 x 48 sees 32 x 32: 128 tokens enter, and its cost is of 128 tokens."""
    stages = "[{'after_block': 1, 'num_chunks': 4, 'num_drop': 5, 'backward': True}]"
    arguments = ('--schedules', '0', stages, '--pruners', 'sta')
    found = evaluate(*arguments, '--cfg-options', 'model.backbone.img_size=48')
    assert found['rows'][0]['tokens_kept'] == 128
    assert found['rows'][1]['tokens_after_stages'] == [108]


@pytest.mark.parametrize('number', [3, 99])
def test_fewer_videos_are_a_sample_in_the_order_of_the_list(evaluate, tiny, number) -> None:
    found = evaluate('--max-videos', number, '--schedules', '0')
    names = [Path(name).name for name in found['scores'].names]
    assert len(names) == found['environment']['num_videos'] == min(number, len(tiny.names))
    assert names == [name for name in tiny.names if name in names]


def test_half_precision_is_near_but_not_the_same(evaluate) -> None:
    whole = evaluate('--schedules', '0')
    for amp, bound in (('bf16', 0.1), ('fp16', 0.02)):
        half = evaluate('--schedules', '0', '--amp', amp)
        assert half['environment']['precision'] == amp
        difference = np.abs(half['scores'].scores - whole['scores'].scores).max()
        assert 1e-6 < difference < bound


def test_several_seeds_are_one_row_of_the_table_and_all_in_the_files(
    tiny, tmp_path, capsys
) -> None:
    arguments = ('--pruners', 'sta', 'random', '--seeds', 3, '--schedules', 0, 2)
    folder = tmp_path / 'run'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *arguments, '--work-dir', folder) == 0
    said = capsys.readouterr().out
    assert 'random-2 (3 seeds)' in said and 'random[seed=' not in said
    rows = {r['name']: r for r in json.loads((folder / 'results.json').read_text())['rows']}
    draws = [f'random[seed={seed}]-2' for seed in range(3)]
    assert list(rows) == ['unpruned', 'sta-2', 'random-2 (3 seeds)', *draws]
    mean = np.mean([rows[name]['top1_percent'] for name in draws])
    assert rows['random-2 (3 seeds)']['top1_percent'] == pytest.approx(mean)
    scores = read_scores(folder / 'scores.npz')
    assert scores.variants == ('unpruned', 'sta-2', *draws)
    assert len({scores.scores[i].tobytes() for i in range(5)}) == 5


def test_a_budget_takes_the_place_of_schedules(tiny, tmp_path, capsys) -> None:
    """Pruners that cost differently drop differently; no pruning is always there."""
    arguments = ('--pruners', 'sta', 'random', '--seeds', 2, '--budget', 0.8)
    folder = tmp_path / 'run'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *arguments, '--work-dir', folder) == 0
    said = capsys.readouterr().out
    drops = dict(re.findall(r'^budget 0\.8 = .*: (\w+) drops (\d+), ', said, re.M))
    assert list(drops) == ['sta', 'random']
    rows = json.loads((folder / 'results.json').read_text())['rows']
    names = {row['name']: row['reduction_percent'] for row in rows}
    assert list(names)[:3] == [
        'unpruned',
        f'sta-{drops["sta"]}',
        f'random-{drops["random"]} (2 seeds)',
    ]
    assert all(20.0 <= saved < 30.0 for saved in list(names.values())[1:])
