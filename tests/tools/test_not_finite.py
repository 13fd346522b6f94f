"""Weights that overflow: every tool names video, variant and precision in a line and stops."""

from __future__ import annotations

import csv
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sta.engine import clips as prediction
from sta.engine import loop as variant_loop
from sta.engine.scoring import Scored, Scorer
from sta.report import read_scores
from sta.sweeps.job import Status

from .test_train import VALIDATION
from .tiny import NUM_VIDEOS, Tiny, run_tool

ENDED = Status('ended', '999999999', 'local', 'a', 1, 1, 0.0, 0, exit_status=2)
VARIANTS = ('--schedules', 0, 4, '--pruners', 'sta')


@pytest.fixture(scope='module')
def overflowing(tiny, tmp_path_factory) -> Path:
    """Finite weights whose products are not."""
    return scaled(tiny, tmp_path_factory.mktemp('overflowing') / 'fp32.safetensors', 1e25)


def scaled(tiny: Tiny, path: Path, factor: float) -> Path:
    weights = load_file(tiny.checkpoint)
    for name in weights:
        if 'mlp' in name and name.endswith('weight'):
            weights[name] *= factor
    save_file(weights, path)
    return path


@pytest.fixture
def third_under_sta(monkeypatch) -> None:
    """The third video's scores under sta-4 alone are not finite."""
    counted = iter(range(1000))

    class Overflowing(Scorer):
        def score(self, inputs: torch.Tensor) -> Scored:
            found = super().score(inputs)
            scores, finite = found.scores.clone(), found.finite.copy()
            for row in range(len(inputs)):
                if next(counted) == 2:
                    scores[row, 1], finite[row, 1] = torch.nan, False
            return found._replace(scores=scores, finite=finite)

    monkeypatch.setattr(variant_loop, 'Scorer', Overflowing)
    monkeypatch.setattr(prediction, 'Scorer', Overflowing)


@pytest.fixture
def one_by_one() -> tuple[str, str]:
    return ('--cfg-options', 'test_dataloader.batch_size=1')


def test_every_tool_ends_in_one_line(refused, tiny, overflowing, tmp_path) -> None:
    first = tiny.folder / 'videos' / tiny.names[0]
    said = (f'error: {first}: scores under unpruned, sta-4 in fp32 are not finite',)
    given = (tiny.one_view, overflowing)
    refused('test', *given, *VARIANTS, '--work-dir', 'run', said=said)
    assert not list(Path('run').glob('scores/*.sqlite')) and not list(Path('run').glob('*.json'))
    refused('predict', *given, first, *VARIANTS, '--out', 'out.csv', said=said)
    assert not Path('out.csv').exists()
    refused('measure_fidelity', *given, *VARIANTS, '--out', 'fidelity', said=said)
    words = ('--budget', 0.8, '--trials', 2, '--search-videos', 3, '--out', 'search')
    refused(
        'search_schedule', *given, *words, said=('scores under unpruned in fp32 are not finite',)
    )
    assert not Path('search/search.json').exists()
    refused('visualize_tokens', *given, first, '--schedule', 4, '--out', 'a.png', said=said)
    assert not Path('a.png').exists()


def test_half_precision_is_named_with_what_helps(refused, tiny, tmp_path) -> None:
    weights = scaled(tiny, tmp_path / 'fp16.safetensors', 1e4)
    given = (tiny.one_view, weights, *VARIANTS)
    refused('test', *given, '--amp', 'fp16', said=('in fp16 are not finite', 'take bf16 or fp32'))
    assert run_tool('test', *given) == 0


def test_an_export_of_what_overflows(refused, tiny, overflowing) -> None:
    given = (tiny.one_view, overflowing, '--schedule', 0, '--format', 'pt2', '--out', 'a.pt2')
    said = 'logits of the eager model in fp32 are not finite (NaN or infinity) for '
    refused('export', *given, said=(said, 'nothing was written'))
    assert not list(Path().glob('a.pt2*'))


def test_what_was_scored_before_is_kept_and_the_setting_goes_on(
    refused, tiny, one_by_one, third_under_sta, capsys
) -> None:
    given = (tiny.one_view, tiny.checkpoint, *VARIANTS, '--work-dir', 'run', *one_by_one)
    line = refused('test', *given, said=(f'{tiny.names[2]}: scores under sta-4 in fp32',))
    assert '--on-nonfinite wrong' in line and 'the same command goes on from there' in line
    (path,) = Path('run/scores').glob('*.sqlite')
    stored = sqlite3.connect(path).execute('SELECT place FROM videos').fetchall()
    assert stored == [(0,), (1,)]
    assert run_tool('test', *given) == 0  # the fixture breaks one video once
    assert json.loads(Path('run/results.json').read_text())['environment']['resumed'] == 2
    assert json.loads(Path('run/results.json').read_text())['not_finite'] == []


def test_such_videos_count_as_wrong_and_everything_says_so(
    tiny, one_by_one, third_under_sta, capsys
) -> None:
    given = (tiny.one_view, tiny.checkpoint, *VARIANTS, '--work-dir', 'run', *one_by_one)
    assert run_tool('test', *given, '--on-nonfinite', 'wrong') == 0
    said = capsys.readouterr().out
    note = 'SCORES NOT FINITE, counted as wrong: sta-4 1 of 7 videos.'
    assert note in ' '.join(said.split())
    assert f'{tiny.names[2]}: sta-4\n' in said
    found = json.loads(Path('run/results.json').read_text())
    (failed,) = found['not_finite']
    assert failed['name'].endswith(tiny.names[2]) and failed['variants'] == ['sta-4']
    with Path('run/results.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['not_finite'] for row in rows] == ['0', '1']
    for name in ('results.md', 'report.html', 'accuracy_vs_gflops.svg'):
        text = Path('run', name).read_text()
        assert note in text or name.endswith('svg')
    scores = read_scores(Path('run/scores.npz'))
    right = (scores.scores[1].argmax(1) == scores.labels) & np.isfinite(scores.scores[1]).all(1)
    assert float(rows[1]['top1_percent']) == pytest.approx(100 * right.mean())
    assert run_tool('test', *given, '--on-nonfinite', 'wrong') == 0  # nothing is left to do
    assert note in ' '.join(capsys.readouterr().out.split())
    # The default does not believe them: the video is scored again, which is finite by now.
    assert run_tool('test', *given) == 0
    assert 'NOT FINITE' not in capsys.readouterr().out
    assert json.loads(Path('run/results.json').read_text())['not_finite'] == []
    assert 'NOT FINITE' not in Path('run/report.html').read_text()


def test_predictions_of_the_others_where_the_setting_says_so(tiny, third_under_sta, capsys) -> None:
    given = (tiny.one_view, tiny.checkpoint, tiny.folder / 'videos', *VARIANTS)
    options = ('--cfg-options', 'test_cfg.on_nonfinite=wrong')
    assert run_tool('predict', *given, *options, '--out', 'out.json') == 0
    said = capsys.readouterr()
    assert f'left out: {tiny.folder}/videos/{tiny.names[2]}: scores under sta-4 in' in said.err
    assert 'nan' not in said.out
    names = {guess['video'] for guess in json.loads(Path('out.json').read_text())}
    assert len(names) == NUM_VIDEOS - 1


def test_an_older_version_is_shown_with_what_is_wrong_and_its_scores_not_believed(
    refused, tiny, overflowing, capsys
) -> None:
    given = (tiny.one_view, overflowing, '--schedules', 0, 4, '--pruners', 'sta', 'random')
    given += ('--work-dir', 'run')
    assert run_tool('test', *given, '--on-nonfinite', 'wrong') == 0
    path = Path('run/results.json')
    found = json.loads(path.read_text())
    found['note'] = 'a note'
    for row in found['rows']:
        del row['not_finite'], row['num_videos']
    path.write_text(json.dumps(found))
    capsys.readouterr()
    note = 'SCORES NOT FINITE in scores.npz, counted as wrong: unpruned 7, sta-4 7, random-4 7 of 7'
    assert run_tool('report', 'run') == 0
    assert note in capsys.readouterr().out and note in Path('run/report.html').read_text()
    note = 'SCORES NOT FINITE, counted as wrong, of the variant or the reference: random-4 7'
    assert run_tool('compare_pruners', 'run') == 0
    assert note in ' '.join(capsys.readouterr().out.split())
    assert run_tool('compare_classes', 'run') == 0
    assert '7 videos with scores that are no numbers' in ' '.join(capsys.readouterr().out.split())
    cost = f'"gflops_per_view": {found["rows"][1]["gflops_per_view"]}'
    for value in ('NaN', 'Infinity', 'null'):
        text = json.dumps(found).replace(cost, f'"gflops_per_view": {value}')
        assert value in text
        path.write_text(text)
        for tool in ('report', 'compare_pruners'):
            refused(tool, 'run', said=('results.json',))
    path.unlink()
    (scores,) = Path('run/scores').glob('*.sqlite')
    with sqlite3.connect(scores) as connection:
        connection.execute("UPDATE videos SET reason = ''")
    refused('test', *given, said=('are not finite',))


def test_a_setting_that_is_none(refused, tiny, overflowing) -> None:
    said = ("test_cfg.on_nonfinite must be one of ['error', 'wrong'], got 'skip'",)
    options = ('--cfg-options', 'test_cfg.on_nonfinite=skip')
    refused('test', tiny.one_view, 'missing.pth', *options, said=said)
    refused('predict', tiny.one_view, overflowing, tiny.folder / 'videos', *options, said=said)


def test_a_sweep_says_why_its_job_failed_and_merges_what_counts_as_wrong(
    tiny, overflowing, in_process, capsys
) -> None:
    given = ('--configs', tiny.one_view, '--checkpoints', overflowing, *VARIANTS, '--shards', 2)
    assert run_tool('sweep', *given, '--sweep-dir', 'sweep') == 1
    log = Path('sweep/elements/one_view/1of2/log.txt')
    log.write_text(f'--- attempt\n$ command\n{capsys.readouterr().err.splitlines()[0]}\n')
    (log.parent / 'status.json').write_text(json.dumps(asdict(ENDED)))
    assert run_tool('collect', 'sweep') == 1
    said = f'{tiny.names[0]}: scores under unpruned, sta-4 in fp32 are not finite'
    assert said in capsys.readouterr().out
    (failed, _) = json.loads(Path('sweep/results.json').read_text())['elements']
    assert failed['state'] == 'failed' and said in failed['error']
    assert run_tool('sweep', *given, '--sweep-dir', 'wrong', '--on-nonfinite', 'wrong') == 0
    assert run_tool('collect', 'wrong') == 0
    note = 'SCORES NOT FINITE, counted as wrong: unpruned 7 of 7 videos, sta-4 7 of 7 videos.'
    assert note in ' '.join(capsys.readouterr().out.split())
    for name in ('results.md', 'results.tex', 'report.html'):
        assert note in Path('wrong', name).read_text(), name
    for path in Path('wrong').glob('elements/*/*/scores/*.sqlite'):
        with sqlite3.connect(path) as connection:  # as an older version stored them
            connection.execute("UPDATE videos SET reason = ''")
    Path('wrong/results/one_view/results.json').unlink()
    assert run_tool('collect', 'wrong') == 1
    said = capsys.readouterr().out
    assert 'cannot be merged: one_view: stored scores of ' in said and 'in fp32 are not' in said


@pytest.mark.parametrize('kind', ['loss', 'weights', 'validation'])
def test_a_training_that_runs_into_nan_stops(refused, tiny, overflowing, child, kind) -> None:
    """An overflow in the first step; weights of the last step, no loss behind them; validation."""
    text = 'optim_wrapper = dict(optimizer=dict(lr=1e30))\n'
    said = ('loss is ', ' in iteration 2 (fp32): a lower learning rate')
    if kind == 'weights':
        steep = 'dict(_delete_=True, type="SGD", lr=3e38, weight_decay=1e3)'
        text = f'optim_wrapper = dict(optimizer={steep})\n'
        text += 'train_cfg = dict(max_epochs=1)\ntrain_dataloader = dict(batch_size=7)\n'
        said = ('holds NaN or infinity and is not saved, after iteration 1 (fp32)',)
    if kind == 'validation':
        text = VALIDATION.format(
            list=str(tiny.folder / 'list.txt'), videos=str(tiny.folder / 'videos')
        )
        text += 'train_cfg = dict(max_epochs=1, val_interval=1)\n'
        text += 'train_dataloader = dict(batch_size=7)\n'
        text += 'optim_wrapper = dict(optimizer=dict(lr=1e30))\n'
        said = (f'{tiny.names[0]}: scores in validation are not finite after iteration 1 (fp32)',)
    refused('train', child(text, tiny.training), '--work-dir', 'run', said=said)
    if kind != 'validation':
        assert not list(Path('run').glob('*.pth'))
