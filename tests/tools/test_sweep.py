"""A sweep on this machine: its merged tables are those of one process, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sta.report import read_scores
from sta.sweeps.job import count_stored

from .test_resume import assert_same_scores, same, table
from .tiny import NUM_VIDEOS, Tiny, run_tool

VARIANTS = ('--schedules', '0', '3', '--pruners', 'sta', 'random')


@pytest.fixture(scope='module')
def alone(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same evaluation in one process."""
    folder = tmp_path_factory.mktemp('sweep') / 'alone'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *VARIANTS, '--work-dir', folder) == 0
    return folder


def sweep(tiny: Tiny, *words: object, config: Path | None = None) -> int:
    given = ('--configs', config or tiny.one_view, '--checkpoints', tiny.checkpoint, *VARIANTS)
    return run_tool('sweep', *given, '--sweep-dir', 'sweep', *words)


@pytest.mark.parametrize('shards', [1, 4])
def test_shards_end_in_the_table_of_one_process(
    tiny: Tiny, alone: Path, in_process: list[str], shards: int
) -> None:
    assert sweep(tiny, '--shards', shards) == 0
    assert len(in_process) == shards
    assert run_tool('collect', 'sweep') == 0
    same(Path('sweep/results/one_view'), alone)
    facts = json.loads(Path('sweep/results.json').read_text())
    [evaluation] = facts['evaluations']
    assert evaluation['environment']['num_listed'] == NUM_VIDEOS
    assert set(evaluation['environment']['fingerprint']) >= {
        'weights',
        'videos',
        'schedules or pruners',
    }
    assert facts['facts']['commit'] and 'tools/sweep.py --configs' in facts['facts']['command']
    assert [one['state'] for one in facts['elements']] == ['done'] * shards


@pytest.mark.pictures
def test_every_kind_of_file(tiny: Tiny, alone: Path, in_process: list[str], capsys) -> None:
    assert sweep(tiny, '--shards', 2, '--name', 'mine') == 0
    capsys.readouterr()
    assert run_tool('collect', 'sweep', '--watch', '--every', 0.1) == 0  # nothing runs any more
    out = capsys.readouterr().out
    assert 'one_view 1/2   done     4/4  100' in out
    assert '7 videos x 1 view (merged from 2 shards), fp32.' in out
    csv_lines = Path('sweep/results.csv').read_text().splitlines()
    whole = (alone / 'results.csv').read_text().splitlines()
    before = f'one_view,{tiny.one_view},{tiny.checkpoint},'
    assert csv_lines[0] == 'evaluation,config,checkpoint,' + whole[0]
    assert len(csv_lines) == len(whole)
    assert csv_lines[1].startswith(before + 'unpruned,')
    assert r'\caption{mine: one\_view}' in Path('sweep/results.tex').read_text()
    page = Path('sweep/report.html').read_text()
    assert 'one_view, sta-3' in page and '<h2>Jobs</h2>' in page
    assert '| one_view 2/2 | done |' in Path('sweep/results.md').read_text()
    for name in ('accuracy_vs_gflops.png', 'accuracy_vs_gflops.svg'):
        assert Path('sweep', name).stat().st_size > 1000
    assert Path('sweep/results/one_view/report.html').is_file()
    commands = json.loads(Path('sweep/sweep.json').read_text())['commands']
    assert commands['one_view 2/2'].endswith('--work-dir sweep/elements/one_view/2of2 --shard 2/2')


def test_only_what_is_missing_runs(tiny: Tiny, alone: Path, in_process: list[str], capsys) -> None:
    assert sweep(tiny, '--shards', 3) == 0
    for path in Path('sweep/elements/one_view/2of3/scores').glob('*.sqlite'):
        path.unlink()
    Path('sweep/elements/one_view/2of3/results.json').unlink()
    in_process.clear()
    assert run_tool('collect', 'sweep') in (0, 1)
    assert '(so far, of 7; 2 of 3 shards are done)' in capsys.readouterr().out
    assert len(read_scores(Path('sweep/results/one_view/scores.npz')).names) == 5
    assert sweep(tiny, '--shards', 3) == 0
    assert in_process == ['one_view 2/3']
    in_process.clear()
    assert sweep(tiny, '--shards', 3) == 0
    assert in_process == []
    assert 'nothing is left to start' in capsys.readouterr().out
    assert run_tool('collect', 'sweep') == 0
    same(Path('sweep/results/one_view'), alone)


def test_a_wrong_element_does_not_sink_the_others(
    tiny: Tiny, alone: Path, in_process: list[str], child: Callable[..., Path], capsys
) -> None:
    wrong = child('model = dict(backbone=dict(embed_dims=48), cls_head=dict(in_channels=48))')
    given = ('--configs', wrong, tiny.one_view, '--checkpoints', *2 * (tiny.checkpoint,))
    assert run_tool('sweep', *given, *VARIANTS, '--sweep-dir', 'sweep') == 1
    assert in_process == ['child', 'one_view']
    assert '1 of 2 failed; the same command tries them again' in capsys.readouterr().out
    run_tool('collect', 'sweep')
    same(Path('sweep/results/one_view'), alone)
    assert not Path('sweep/results/child').exists()


def test_two_hundred_elements_are_only_printed(tiny: Tiny, tmp_path: Path, capsys) -> None:
    pairs = [(tiny.one_view, tiny.checkpoint)] * 50
    lines = [f'- {{name: e{i}, config: {c}, checkpoint: {k}}}' for i, (c, k) in enumerate(pairs)]
    Path('many.yaml').write_text('shards: 4\nevaluations:\n' + '\n'.join(lines))
    given = ('--dry-run', '--executor', 'slurm', '--partition', 'p', '--gpus-per-task', 2)
    assert run_tool('sweep', 'many.yaml', *given, '--max-parallel', 9, '--time', '1:00:00') == 0
    out = capsys.readouterr().out
    assert out.count('tools/test.py') == 200
    assert 'e49 4/4: python -m torch.distributed.run --standalone --nproc_per_node 2' in out
    for line in (
        '#SBATCH --array=0-199%9',
        '#SBATCH --partition=p',
        '#SBATCH --gpus-per-node=2',
        '#SBATCH --time=60',
        '#SBATCH --requeue',
        '#SBATCH --signal=USR2@90',
    ):
        assert line in out
    assert '200 elements of 200 would be started' in out
    assert not Path('work_dirs').exists()


@pytest.mark.parametrize('shards', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_elements_of_two_processes_each(
    tiny: Tiny, alone: Path, monkeypatch: pytest.MonkeyPatch, capsys, shards: int
) -> None:
    """submitit's local executor, torchrun and gloo, as a user has them."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    assert sweep(tiny, '--shards', shards, '--processes', 2, '--max-parallel', 2) == 0, (
        capsys.readouterr().out
    )
    for folder in Path('sweep/elements/one_view').iterdir():
        assert len(list(folder.glob('scores/*.sqlite'))) == 2
        assert count_stored(folder) in ((3, 4) if shards == 2 else (NUM_VIDEOS,))
    assert run_tool('collect', 'sweep') == 0
    same(Path('sweep/results/one_view'), alone)
    assert_same_scores(Path('sweep/results/one_view'), alone)
    assert table(Path('sweep/results/one_view')) == table(alone)
