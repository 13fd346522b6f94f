"""The comparison with mmaction2's loop: both sides see the same videos and find the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from sta.analysis.speed import measure
from sta.engine.benchmarking import run_host_loop
from sta.engine.config import load_config

from .tiny import ROOT, Tiny, forget_loggers, run_tool

Refused = Callable[..., str]


@pytest.mark.parametrize('schedule', ['0', '3'])
def test_mmaction2s_loop_finds_the_same_accuracy(tiny: Tiny, tmp_path, schedule: str) -> None:

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
def test_the_comparison(tiny: Tiny, capsys: pytest.CaptureFixture) -> None:
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
def test_what_cannot_be_is_said_before_anything_runs(
    refused: Refused, tiny: Tiny, more: tuple, said: str
) -> None:
    refused('benchmark_evaluation', tiny.one_view, tiny.checkpoint, *more, said=(said,))


def test_decoding_is_timed_both_ways(tiny: Tiny, capsys: pytest.CaptureFixture) -> None:
    """In a process of its own: it settles with one thread."""
    code = (
        'import sys; from tests.tools.tiny import run_tool; '
        f'sys.exit(run_tool("benchmark_decoding", {str(tiny.six_views)!r}, '
        f'{str(tiny.folder / "videos")!r}, "--rounds", "1"))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert '7 videos, views (6, 3, 16, 32, 32) of 0 MB' in ' '.join(done.stdout.split())
    for way in ('pyav, guarded', 'pyav, in the same process', 'decord, guarded'):
        assert way in done.stdout


def test_decoding_of_nothing(refused: Refused, tiny: Tiny, tmp_path) -> None:
    refused('benchmark_decoding', tiny.one_view, tmp_path, said=('holds no video',))
    refused('benchmark_decoding', tiny.one_view, tmp_path, '--rounds', '0', said=('at least 1',))
