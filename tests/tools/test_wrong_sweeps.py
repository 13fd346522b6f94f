"""Sweeps that cannot be, and folders that hold none: one clear line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sta.sweeps import run as sweep_run
from sta.sweeps.plan import read_sweep
from sta.sweeps.state import Manifest

from .tiny import Tiny, run_tool

Refused = Callable[..., str]


@pytest.fixture
def given(tiny: Tiny) -> tuple:
    return ('--configs', tiny.one_view, '--checkpoints', tiny.checkpoint, '--sweep-dir', 'sweep')


@pytest.fixture
def planned(tiny: Tiny, given: tuple, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """A sweep of which nothing ran yet."""
    monkeypatch.setattr(sweep_run, 'run_locally', lambda *_, **__: None)
    assert run_tool('sweep', *given, '--shards', 2) == 0
    return given


def test_no_slurm_here(refused: Refused, given: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    refused('sweep', *given, '--executor', 'slurm', said=('needs a partition', 'sinfo'))
    monkeypatch.setattr(sweep_run.shutil, 'which', lambda _: None)
    said = ('sbatch not found', '--executor local')
    refused('sweep', *given, '--executor', 'slurm', '--partition', 'p', said=said)


def test_files_that_are_not_there(refused: Refused, tiny: Tiny) -> None:
    refused('sweep', 'no.yaml', said=('no.yaml does not exist',))
    refused('sweep', said=('the command line: nothing to evaluate',))
    said = ('config no.py does not exist',)
    refused('sweep', '--configs', 'no.py', '--checkpoints', tiny.checkpoint, said=said)
    said = ('checkpoint no.pth does not exist',)
    refused('sweep', '--configs', tiny.one_view, '--checkpoints', 'no.pth', said=said)
    refused('sweep', '--configs', tiny.one_view, said=('1 configs and 0 checkpoints',))
    assert not Path('work_dirs').exists()


def test_files_that_are_wrong(refused: Refused) -> None:
    """All mistakes: tests/sweeps/test_plan.py."""
    Path('wrong.yaml').write_text('scheduels: [0]')
    refused('sweep', 'wrong.yaml', said=("wrong.yaml: unknown key 'scheduels'", "'schedules'?"))


def test_numbers_of_shards(refused: Refused, given: tuple, tiny: Tiny) -> None:
    refused('sweep', *given, '--shards', 0, said=('shards must be at least 1, got 0',))
    said = ('one_view: 5 shards are too many', '7 videos in batches of 2 make at most 4')
    refused('sweep', *given, '--shards', 5, said=said)
    refused('sweep', *given, '--shards', 2, '--max-videos', 1, said=('at most 1',))
    alone = (tiny.one_view, tiny.checkpoint)
    refused('test', *alone, '--shard', '5/4', said=('--shard takes NUMBER/COUNT', "'5/4'"))
    refused('test', *alone, '--shard', '1/5', said=('5 shards are too many',))
    assert not Path('sweep').exists()


@pytest.mark.parametrize('executor', [(), ('--executor', 'slurm', '--partition', 'p')])
def test_variants_that_do_not_suit_the_model(
    refused: Refused, given: tuple, executor: tuple[str, ...]
) -> None:
    said = ('pruning stage 1 (after block 0): cannot drop 99 of 16 tokens per chunk',)
    refused('sweep', *given, *executor, '--schedules', 0, 99, said=said)
    said = ('STAPruner: score must be one of', "got 'x'")
    refused('sweep', *given, *executor, '--pruners', 'sta:score=x', said=said)
    assert not Path('sweep').exists()


def test_a_list_that_is_not_there(
    refused: Refused, given: tuple, child: Callable[..., Path], tiny: Tiny
) -> None:
    config = child("test_dataloader = dict(dataset=dict(ann_file='no.txt'))")
    refused('sweep', '--configs', config, *given[2:], said=('no.txt',))


def test_another_sweep_in_the_folder(refused: Refused, planned: tuple, tiny: Tiny) -> None:
    said = ('sweep holds another sweep', 'shards of one_view', 'choose another --sweep-dir')
    refused('sweep', *planned, '--shards', 3, said=said)
    said = ('options of one_view',)
    refused('sweep', *planned, '--shards', 2, '--schedules', '0', said=said)
    other = ('--configs', tiny.six_views, *planned[2:])
    refused('sweep', *other, '--shards', 2, said=('evaluations (one_view, six_views)',))


def test_a_checkpoint_that_changed(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    weights = tmp_path / 'w.safetensors'
    weights.write_bytes(tiny.checkpoint.read_bytes())
    given = ('--configs', tiny.one_view, '--checkpoints', weights, '--sweep-dir', 'sweep')
    assert run_tool('sweep', *given, '--dry-run') == 0
    typed = dict(configs=[str(tiny.one_view)], checkpoints=[str(weights)])
    planned = sweep_run.plan(read_sweep(None, typed).evaluations)
    Manifest('s', planned, {}).write(Path('sweep'))
    weights.write_bytes(weights.read_bytes()[:-1] + b'?')
    refused('sweep', *given, said=('checkpoint (its content) of one_view',))


def test_a_folder_of_something_else(refused: Refused, given: tuple) -> None:
    Path('sweep').mkdir()
    Path('sweep/notes.txt').write_text('mine')
    refused('sweep', *given, said=('sweep is not empty and no sweep', '--sweep-dir'))
    refused('collect', 'sweep', said=('sweep holds no sweep.json', 'tools/sweep.py'))
    refused('collect', 'nowhere', said=('nowhere is not a folder',))


def test_a_damaged_sweep(refused: Refused, planned: tuple) -> None:
    path = Path('sweep/sweep.json')
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    refused('collect', 'sweep', said=('sweep/sweep.json is damaged or not from tools/sweep.py',))
    refused('sweep', *planned, '--shards', 2, said=('sweep/sweep.json is damaged',))
    path.write_text(json.dumps({**json.loads(text), 'version': 9}))
    refused('collect', 'sweep', said=('version 9, this is 1',))
    path.write_text(text)
    Path('sweep/submissions').mkdir(exist_ok=True)
    Path('sweep/submissions/1.json').write_text('{"jobs": ')
    refused('collect', 'sweep', said=('sweep/submissions/1.json is damaged',))


def test_a_sweep_of_which_nothing_ran(planned: tuple, capsys: pytest.CaptureFixture) -> None:
    assert run_tool('collect', 'sweep') == 0
    out = capsys.readouterr().out
    assert '2 elements: 2 pending; 0 of 7 videos = 0 %' in out
    assert [p.name for p in Path('sweep').glob('results*')] == ['results.json']


def test_damaged_scores_are_named(tiny: Tiny, planned: tuple, capsys) -> None:
    words = json.loads(Path('sweep/sweep.json').read_text())['commands']['one_view 1/2'].split()
    folder = Path('sweep/elements/one_view/1of2')
    assert run_tool('test', *words[2:]) == 0
    Path(folder, 'scores/99_x.sqlite').write_bytes(b'half')
    capsys.readouterr()
    assert run_tool('collect', 'sweep') == 1
    assert 'cannot be merged: one_view: ' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['keep 100%a', '%j', '%A/x', '50%t', 'new\nline'])
def test_folders_that_jobs_cannot_have(refused: Refused, given: tuple, name: str) -> None:
    refused(
        'sweep',
        *given[:4],
        '--sweep-dir',
        name,
        said=('the folder of the sweep', '--sweep-dir')[: 1 + ('%' in name)],
    )
    assert not Path(name).exists()


def test_a_folder_of_an_odd_name_will_do(given: tuple, tiny: Tiny) -> None:
    name = "it's a {} 100% Übung 日本/"
    less = ('--max-videos', 2, '--schedules', 0)
    assert run_tool('sweep', *given[:4], '--sweep-dir', name, *less) == 0
    assert run_tool('collect', name) == 0 and Path(name, 'results.csv').is_file()


def test_percent_signs_are_for_sbatch(
    refused: Refused, given: tuple, tmp_path, monkeypatch
) -> None:
    options = ('--executor', 'slurm', '--partition', 'p', '--dry-run')
    refused('sweep', *given[:4], '--sweep-dir', '100%', *options, said=("holds '%'", 'slurm jobs'))
    (tmp_path / '7%a').mkdir()
    monkeypatch.chdir(tmp_path / '7%a')
    refused('sweep', *given, said=("holds '%a'",))


def test_how_often_to_look(refused: Refused, planned: tuple) -> None:
    said = '--every must be positive and at most a day, 86400 s, got '
    for seconds in ('0', 'nan', 'inf'):
        refused('collect', 'sweep', '--every', seconds, said=(said + seconds,))
