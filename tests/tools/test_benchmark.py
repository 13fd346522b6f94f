"""Figures of a benchmark agree with one another; mmaction2's loop finds the same."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from sta.analysis import count_costs
from sta.analysis.speed import Timing, measure
from sta.engine.benchmarking import run_host_loop
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.pruning import expand_variants
from sta.report import benchmark_rows

from .tiny import NUM_VIDEOS, forget_loggers, run_tool


def figures(path: Path) -> tuple[str, dict[str, dict[str, float | None]]]:
    title, *lines = path.read_text().splitlines()
    rows = {row.pop('name'): row for row in csv.DictReader(lines)}
    numbers = {n: {k: float(v) if v else None for k, v in r.items()} for n, r in rows.items()}
    return title, numbers


@pytest.fixture(scope='module')
def measured(tiny, tmp_path_factory) -> tuple[str, dict]:
    path = tmp_path_factory.mktemp('benchmark') / 'folder' / 'speed.csv'
    arguments = ('--schedules', '0', '4', '--vs', 'mmaction2', '--rounds', '5')
    assert run_tool('benchmark', tiny.one_view, *arguments, '--csv', path) == 0
    return figures(path)


def test_the_conditions_stand_above_the_figures(measured) -> None:
    title, _ = measured
    for part in ('# one_view', 'batch 2', 'fp32', 'CPU', 'threads', 'torch', '5 interleaved'):
        assert part in title


def test_ratios_are_those_of_the_times(measured) -> None:
    _, rows = measured
    assert list(rows) == ['mmaction2', 'unpruned', 'sta-4']
    for row in rows.values():
        assert 0 < row['ms_quartile1'] <= row['ms_median'] <= row['ms_quartile3']
        assert row['clips_per_s'] == pytest.approx(2 / (row['ms_median'] / 1e3))
        own, host = (rows[name]['ms_median'] for name in ('unpruned', 'mmaction2'))
        assert row['speedup_vs_unpruned'] == pytest.approx(own / row['ms_median'])
        assert row['speedup_vs_mmaction2'] == pytest.approx(host / row['ms_median'])


def test_costs_and_shares(measured, tiny) -> None:
    _, rows = measured
    model = build_model(load_config(str(tiny.one_view)))
    variants = expand_variants([0, 4], [{'type': 'STAPruner'}])
    whole, pruned = (c.gflops_per_view for c in count_costs(model, variants, (3, 16, 32, 32)))
    assert rows['unpruned']['gflops_per_view'] == pytest.approx(whole)
    assert rows['sta-4']['gflops_per_view'] == pytest.approx(pruned)
    assert rows['sta-4']['speedup_bound'] == pytest.approx(whole / pruned)
    assert rows['unpruned']['pruning_share'] == 0
    assert 0 < rows['sta-4']['pruning_share'] < 1
    host = rows['mmaction2']
    assert host['gflops_per_view'] is None and host['pruning_share'] is None


def test_figures_by_hand() -> None:
    """Two contestants of known times."""
    timings = [
        Timing('unpruned', 4, np.array([0.2, 0.4, 0.3])),
        Timing('sta-64', 4, np.array([0.1, 0.1, 0.5])),
    ]
    gflops = {'unpruned': 180.0, 'sta-64': 90.0}
    whole, pruned = benchmark_rows(timings, gflops, {'sta-64': 0.02})
    assert whole['ms_median'] == pytest.approx(300)
    assert (whole['ms_quartile1'], whole['ms_quartile3']) == pytest.approx((250, 350))
    assert whole['clips_per_s'] == pytest.approx(4 / 0.3)
    assert pruned['speedup_vs_unpruned'] == pytest.approx(3.0)
    assert pruned['speedup_bound'] == pytest.approx(2.0)
    assert pruned['share_of_bound'] == pytest.approx(1.5) and whole['share_of_bound'] == 1
    assert (whole['pruning_share'], pruned['pruning_share']) == (None, 0.02)
    assert whole['peak_mb'] is None
    assert pruned['speedup_vs_mmaction2'] is None


def test_without_the_unpruned_model_there_is_nothing_to_compare_with(tiny, tmp_path) -> None:
    arguments = ('--schedules', '4', '--pruner', 'random', '--rounds', '1', '--dtype', 'bf16')
    assert run_tool('benchmark', tiny.one_view, *arguments, '--csv', tmp_path / 'speed.csv') == 0
    title, rows = figures(tmp_path / 'speed.csv')
    assert 'bf16' in title and list(rows) == ['random-4']
    row = rows['random-4']
    assert row['speedup_vs_unpruned'] is None and row['speedup_bound'] is None


def test_json_beside_the_csv_holds_every_round_and_the_conditions(tiny, tmp_path, capsys) -> None:
    """Two sizes of batch on real frames, and passes from the file to the scores."""
    path = tmp_path / 'speed.csv'
    arguments = ('--schedules', '0', '4', '--batch-sizes', '1', '3', '--rounds', '3')
    arguments += ('--clips', tiny.folder / 'videos', '--end-to-end', '--max-videos', '4')
    assert run_tool('benchmark', tiny.one_view, *arguments, '--csv', path) == 0
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'end to end, 4 videos' in shown and '% of' in shown
    found = json.loads((tmp_path / 'speed.json').read_text())
    lines = path.read_text().splitlines()[1:]
    assert [(row['name'], row['batch_size']) for row in csv.DictReader(lines)] == [
        (name, size) for size in '13' for name in ('unpruned', 'sta-4')
    ]
    for row in found['rows']:
        assert len(row['ms_rounds']) == 3
        assert row['ms_median'] == pytest.approx(np.median(row['ms_rounds']))
        assert row['peak_mb'] is None or row['peak_mb'] >= 0
        expected = row['speedup_vs_unpruned'] / row['speedup_bound']
        assert row['share_of_bound'] == pytest.approx(expected)
    assert [row['name'] for row in found['end_to_end']] == ['decoding alone', 'unpruned', 'sta-4']
    assert all(row['batch_size'] == 4 for row in found['end_to_end'])
    assert len(found['videos']) == 4 and found['clip_shape'] == [3, 16, 32, 32]
    assert '--batch-sizes 1 3' in found['command']
    assert found['machine']['cores'] >= 1 and found['machine']['versions']['torch']
    for state in ('state_before', 'state_after'):
        assert set(found[state]) == {'cpu_mhz', 'load_1_min', 'gpu'}


def test_the_configs_list_is_decoded_where_no_clips_are_given(tiny, capsys) -> None:
    """By a config that says nothing of testing, too."""
    arguments = ('--schedules', '4', '--rounds', '1', '--warm-up', '0', '--end-to-end')
    arguments += ('--cfg-options', 'test_cfg=None')
    assert run_tool('benchmark', tiny.one_view, *arguments) == 0
    shown = ' '.join(capsys.readouterr().out.split())
    assert f'end to end, {NUM_VIDEOS} videos' in shown and 'noise' in shown


def test_backward_passes(tiny, tmp_path) -> None:
    arguments = ('--schedules', '0', '4', '--rounds', '3', '--backward', '--vs', 'mmaction2')
    assert run_tool('benchmark', tiny.one_view, *arguments, '--csv', tmp_path / 'speed.csv') == 0
    title, rows = figures(tmp_path / 'speed.csv')
    assert 'forward and backward' in title and list(rows) == ['mmaction2', 'unpruned', 'sta-4']
    assert rows['sta-4']['pruning_share'] is None and rows['sta-4']['speedup_bound'] > 1


@pytest.mark.slow
def test_compiled_contestants(tiny, tmp_path) -> None:
    arguments = ('--schedules', '0', '4', '--rounds', '1', '--batch-sizes', '1', '2', '--compile')
    assert run_tool('benchmark', tiny.one_view, *arguments, '--csv', tmp_path / 'speed.csv') == 0
    title, rows = figures(tmp_path / 'speed.csv')
    assert 'torch.compile default' in title
    assert rows['sta-4']['speedup_vs_unpruned'] and rows['sta-4']['pruning_share'] is None


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--compile', '--pruner', 'rlt'], ('rlt-0.1', 'depends on the clips')),
        (['--clips', 'nowhere'], ('nowhere does not exist',)),
        (['--clips', 'gone.txt'], ('gone.txt does not exist',)),
        (['--clips', 'list.txt'], ('none of the videos of list.txt', 'absent.mp4')),
        (['--clips', 'broken.mp4'], ('not one video can be used', 'broken.mp4')),
        (['--clips', 'broken.mp4', '--end-to-end'], ('not one video can be used', 'broken.mp4')),
        (['--max-videos', '0'], ('--max-videos', 'at least 1')),
        (['--csv', 'speed.json'], ('speed.json', 'name it .csv')),
        (['--csv', '.'], ('--csv . is a folder',)),
        (['--csv', 'list.txt/speed.csv'], ('--csv list.txt/speed.csv cannot be written',)),
        (
            ['--clips', 'V', '--end-to-end', '--cfg-options', 'test_cfg.max_views_per_forward=0'],
            ('max_views_per_forward must be at least 1, got 0',),
        ),
        (['--cfg-options', 'model.backbone.num_frames=8', '--clips'], ('do not suit the model',)),
    ],
)
def test_mistakes_take_one_line(tiny, tmp_path, refused, arguments, said) -> None:
    (tmp_path / 'list.txt').write_text('absent.mp4 0\n')
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    if arguments[-1] == '--clips':
        arguments = [*arguments, 'V']
    arguments = [tiny.folder / 'videos' if word == 'V' else word for word in arguments]
    common = ('--schedules', '0', '--rounds', '1', '--warm-up', '0')
    refused('benchmark', tiny.one_view, *common, *arguments, said=said)


@pytest.mark.parametrize('schedule', ['0', '3'])
def test_mmaction2s_loop_finds_the_same_accuracy(tiny, tmp_path, schedule) -> None:

    folder = tmp_path / 'run'
    more = ('--schedules', schedule, '--pruners', 'sta', '--work-dir', folder)
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *more) == 0
    expected = json.loads((folder / 'results.json').read_text())['rows'][0]['top1_percent']
    forget_loggers()
    config = load_config(str(tiny.one_view))
    where = str(tmp_path / 'host')
    found = run_host_loop(config, str(tiny.checkpoint), schedule=schedule, work_dir=where)
    assert found == pytest.approx(expected)


@pytest.mark.slow
def test_the_comparison(tiny, capsys) -> None:
    more = ('--schedules', '0', '3', '--max-videos', '5')
    assert run_tool('benchmark_evaluation', tiny.one_view, tiny.checkpoint, *more) == 0
    said = ' '.join(capsys.readouterr().out.split())
    assert '5 videos at 2 schedules (0, 3)' in said and 'times as long' in said


def test_a_command_is_measured_with_its_children() -> None:
    """A child that holds 200 MB for a while counts."""
    child = 'import time; b = bytearray(b"x") * 200_000_000; time.sleep(0.7)'
    call = f'subprocess.run([sys.executable, "-c", {child!r}])'
    parent = f'import subprocess, sys; {call}; print("x")'
    usage = measure([sys.executable, '-c', parent])
    assert usage.output == 'x\n'
    assert usage.wall_s > 0.7
    if sys.platform == 'linux':
        assert 200 < usage.peak_mb < 400


def test_a_command_that_fails() -> None:
    with pytest.raises(RuntimeError, match='failed with 3: no luck'):
        measure([sys.executable, '-c', 'print("no luck"); raise SystemExit(3)'])


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (('--rounds', '0'), '--rounds must be at least 1, got 0'),
        (('--max-videos', '-2'), '--max-videos must be at least 1, got -2'),
        (('--schedules', '0', 'x'), "error: schedule 'x' is not understood"),
        (('--schedules', '99'), 'error: pruning stage 1 (after block 0): cannot drop 99 of 16'),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(refused, tiny, more, said) -> None:
    refused('benchmark_evaluation', tiny.one_view, tiny.checkpoint, *more, said=(said,))


def test_decoding_is_timed_both_ways(tiny) -> None:
    """In a process of its own: it settles with one thread."""

    def process() -> None:
        with open('said.txt', 'w') as said, redirect_stdout(said):
            status = run_tool('benchmark_decoding', tiny.six_views, videos, '--rounds', '1')
        sys.exit(status)

    videos = tiny.folder / 'videos'
    child = multiprocessing.get_context('fork').Process(target=process)
    child.start()
    child.join(timeout=120)
    assert child.exitcode == 0
    said = ' '.join(Path('said.txt').read_text().split())
    assert '7 videos, views (6, 3, 16, 32, 32) of 0 MB' in said
    for way in ('pyav, guarded', 'pyav, in the same process', 'decord, guarded'):
        assert way in said


def test_decoding_of_nothing(refused, tiny, tmp_path) -> None:
    refused('benchmark_decoding', tiny.one_view, tmp_path, said=('holds no video',))
    refused('benchmark_decoding', tiny.one_view, tmp_path, '--rounds', '0', said=('at least 1',))
