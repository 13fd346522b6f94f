"""Several processes share the videos, and a run that is killed goes on where it was."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.engine.scoring import Scorer
from sta.report import Scores, read_scores

from .tiny import NUM_VIDEOS, ROOT, Tiny, run_tool

VARIANTS = ('--schedules', '0', '3', '--pruners', 'sta', 'random')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        return probe.getsockname()[1]


def run_forked(
    environments: list[Mapping[str, str]], *arguments: object, tool: str = 'test'
) -> list[int | None]:
    """Exit codes of one process per environment, each running the tool."""

    def process(environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        sys.exit(run_tool(tool, *arguments))

    # Forked, because importing everything anew takes seconds.
    context = multiprocessing.get_context('fork')
    started = [context.Process(target=process, args=(values,)) for values in environments]
    for one in started:
        one.start()
    for one in started:
        one.join(timeout=120)
        one.kill()
    return [one.exitcode for one in started]


def torchrun_environments(number: int) -> list[Mapping[str, str]]:
    shared = {'MASTER_ADDR': 'localhost', 'MASTER_PORT': str(free_port())}
    shared['WORLD_SIZE'] = str(number)
    return [{**shared, 'RANK': str(i), 'LOCAL_RANK': str(i)} for i in range(number)]


def assert_same_scores(folder: Path, expected: Path) -> None:
    found, wanted = read_scores(folder / 'scores.npz'), read_scores(expected / 'scores.npz')
    assert found.names == wanted.names
    assert found.variants == wanted.variants
    np.testing.assert_array_equal(found.labels, wanted.labels)
    # To the last bit: every video met the same neighbours in its batch.
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.fixture(scope='module')
def whole(tiny, tmp_path_factory) -> Path:
    """All videos in one process."""
    folder = tmp_path_factory.mktemp('processes') / 'one'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, '--work-dir', folder, *VARIANTS) == 0
    assert len(read_scores(folder / 'scores.npz').names) == NUM_VIDEOS
    return folder


def test_processes_share_the_videos(tiny, whole, tmp_path) -> None:
    """7 videos: 3 + 2 + 2; 4 + 3 below srun."""
    arguments = (tiny.one_view, tiny.checkpoint, '--work-dir', tmp_path / 'run', *VARIANTS)
    codes = run_forked(torchrun_environments(3), *arguments, '--launcher', 'pytorch')
    assert codes == [0] * 3
    assert_same_scores(tmp_path / 'run', whole)


@pytest.mark.parametrize('videos', ['4', '3', '1'])
def test_fewer_videos_than_there_are(tiny, tmp_path, videos) -> None:
    """As many in each of two processes, one more in the first, none in the second."""
    given = (tiny.one_view, tiny.checkpoint, *VARIANTS, '--max-videos', videos, '--work-dir')
    assert run_tool('test', *given, tmp_path / 'one') == 0
    codes = run_forked(torchrun_environments(2), *given, tmp_path / 'two', '--launcher', 'pytorch')
    assert codes == [0, 0]
    assert_same_scores(tmp_path / 'two', tmp_path / 'one')


def test_srun_needs_nothing_but_its_variables(tiny, whole, tmp_path) -> None:
    shared = {'SLURM_NTASKS': '2', 'SLURM_NODELIST': 'localhost', 'SLURM_JOB_ID': '1'}
    shared['MASTER_PORT'] = str(free_port())  # the job's own port may be taken here
    environments = [{**shared, 'SLURM_PROCID': str(i), 'SLURM_LOCALID': str(i)} for i in (0, 1)]
    arguments = (tiny.one_view, tiny.checkpoint, '--work-dir', tmp_path / 'run', *VARIANTS)
    assert run_forked(environments, *arguments, '--launcher', 'slurm') == [0, 0]
    assert_same_scores(tmp_path / 'run', whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_two_processes_train_as_one_with_twice_the_batch(tiny, tmp_path) -> None:
    """Six videos in one batch, or three in each of two, whose gradients are averaged."""
    options = ['train_dataloader.dataset.max_videos=6']
    options.append("optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.02}")
    weights = []
    for number, batch_size in ((1, 6), (2, 3)):
        folder = tmp_path / str(number)
        given = [tiny.training, '--work-dir', folder, '--cfg-options', *options]
        given.append(f'train_dataloader.batch_size={batch_size}')
        if number == 1:
            assert run_tool('train', *given) == 0
        else:
            environments = torchrun_environments(2)
            codes = run_forked(environments, *given, '--launcher', 'pytorch', tool='train')
            assert codes == [0, 0]
        weights.append(torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict'])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_torchrun(tiny, whole, tmp_path) -> None:
    """The command as a user types it; the table is printed once."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    command += [f'--master_port={free_port()}', str(ROOT / 'tools' / 'test.py')]
    command += [str(tiny.one_view), str(tiny.checkpoint), '--work-dir', str(tmp_path / 'run')]
    command += [*VARIANTS, '--launcher', 'pytorch']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('loaded 45 tensors') == done.stdout.count('written to ') == 1
    assert_same_scores(tmp_path / 'run', whole)


ONE_BY_ONE = ('--cfg-options', 'test_dataloader.batch_size=1')


def evaluate(tiny: Tiny, *arguments: object) -> int:
    return run_tool('test', tiny.six_views, tiny.checkpoint, *VARIANTS, *arguments)


def num_stored(folder: Path) -> int:
    """Videos that are on the disk, seen from outside while others write."""
    total = 0
    for path in folder.rglob('scores/*.sqlite'):
        try:
            with sqlite3.connect(f'file:{path}?mode=ro&nolock=1', uri=True) as connection:
                total += connection.execute('SELECT COUNT(*) FROM videos').fetchone()[0]
        except sqlite3.Error:  # in the middle of a transaction
            pass
    return total


def killed(folder: Path, after: int, *processes: Callable[[], int]) -> None:
    """Start processes, kill them the hard way when so many videos are stored in or below it."""
    context = multiprocessing.get_context('fork')
    started = [context.Process(target=_slowly, args=(process,)) for process in processes]
    for one in started:
        one.start()
    deadline = time.monotonic() + 60
    while num_stored(folder) < after and time.monotonic() < deadline:
        time.sleep(0.01)
    for one in started:
        os.kill(one.pid, signal.SIGKILL)
        one.join()
        assert one.exitcode == -signal.SIGKILL


def _slowly(process: Callable[[], int]) -> None:
    score = Scorer.score

    def slow(*arguments):
        time.sleep(0.2)
        return score(*arguments)

    Scorer.score = slow
    os._exit(process())


def same(one: Path, other: Path) -> None:
    """Scores to the last bit, and every column of the table but the measured speed."""
    found, wanted = read_scores(one / 'scores.npz'), read_scores(other / 'scores.npz')
    for field in Scores._fields:
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
    assert table(one) == table(other)


def table(folder: Path) -> list[Mapping[str, str]]:
    with (folder / 'results.csv').open() as file:
        return [
            {k: v for k, v in row.items() if k != 'clips_per_s'} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope='module')
def undisturbed(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('resume') / 'undisturbed'
    assert evaluate(tiny, *ONE_BY_ONE, '--work-dir', folder) == 0
    return folder


def test_a_run_that_is_killed_three_times(tiny, undisturbed, tmp_path, capsys) -> None:
    folder = tmp_path / 'run'
    for after in (1, 3, 6):
        killed(folder, after, lambda: evaluate(tiny, *ONE_BY_ONE, '--work-dir', folder))
        assert num_stored(folder) >= after
        assert not (folder / 'results.json').exists()
    stored = num_stored(folder)
    assert evaluate(tiny, *ONE_BY_ONE, '--work-dir', folder, '--resume') == 0
    same(folder, undisturbed)
    said = capsys.readouterr().out
    assert f'going on with the run in {folder}, which was cut off' in said
    made = json.loads((folder / 'results.json').read_text())['environment']
    assert made['resumed'] == stored
    assert num_stored(folder) == NUM_VIDEOS  # none was evaluated twice


def test_the_same_command_finds_its_folder(tiny, undisturbed, tmp_path) -> None:
    runs = tmp_path / 'work_dirs/six_views'
    killed(runs, 2, lambda: evaluate(tiny, *ONE_BY_ONE))
    folders = list(runs.iterdir())
    assert evaluate(tiny, *ONE_BY_ONE) == 0
    assert [*runs.iterdir()] == folders
    same(folders[0], undisturbed)
    assert evaluate(tiny, *ONE_BY_ONE) == 0  # finished: a new one
    assert len(list(runs.iterdir())) == 2


def test_half_a_batch_is_scored_with_its_old_neighbours(tiny, tmp_path) -> None:
    """Sizes of batches may change; what the new ones cover in part is scored again."""
    two, three = (('--cfg-options', f'test_dataloader.batch_size={n}') for n in (2, 3))
    folder = tmp_path / 'run'
    killed(folder, 2, lambda: evaluate(tiny, *two, '--work-dir', folder))
    stored = num_stored(folder)
    assert evaluate(tiny, *three, '--work-dir', folder) == 0
    made = json.loads((folder / 'results.json').read_text())['environment']
    assert made['resumed'] == (stored if stored == NUM_VIDEOS else stored // 3 * 3)
    assert evaluate(tiny, *three, '--work-dir', tmp_path / 'whole') == 0
    same(folder, tmp_path / 'whole')


def test_two_processes_are_killed_and_one_goes_on(tiny, undisturbed, tmp_path) -> None:
    folder, port = tmp_path / 'run', str(free_port())
    given = (*ONE_BY_ONE, '--work-dir', folder)

    def process(rank: int) -> int:
        os.environ.update(MASTER_ADDR='localhost', MASTER_PORT=port, WORLD_SIZE='2')
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        return evaluate(tiny, *given, '--launcher', 'pytorch')

    killed(folder, 3, lambda: process(0), lambda: process(1))
    assert len(list(folder.glob('scores/*.sqlite'))) == 2
    assert evaluate(tiny, *given) == 0
    same(folder, undisturbed)


def test_a_finished_run_is_shown_again_and_left_alone(tiny, undisturbed, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.glob('*.*')}
    assert evaluate(tiny, *ONE_BY_ONE, '--work-dir', undisturbed) == 0
    said = capsys.readouterr().out
    assert (
        'unpruned' in said and f'nothing was left to do; the results are in {undisturbed}' in said
    )
    assert 'scores of an earlier session' in ' '.join(said.split())
    for path, time_ns in before.items():
        if path.suffix != '.py':  # the dumped config
            assert path.stat().st_mtime_ns == time_ns, path


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (('--schedules', '0', '2'), 'schedules or pruners'),
        (('--pruners', 'sta:score=temporal', 'random'), 'schedules or pruners'),
        (('--max-videos', '3'), 'videos'),
        (('--amp', 'bf16'), 'precision'),
        (('--cfg-options', 'model.backbone.norm_cfg.eps=1e-5'), 'model settings'),
        (('--cfg-options', 'test_dataloader.dataset.pipeline.1.num_clips=1'), 'test pipeline'),
    ],
)
def test_scores_of_another_run_are_not_mixed_in(
    refused, tiny, undisturbed, arguments, part
) -> None:
    given = (tiny.six_views, tiny.checkpoint, *VARIANTS, '--work-dir', undisturbed, *arguments)
    refused('test', *given, said=(f'scores of a run with other {part}: ', 'another --work-dir'))


def test_scores_of_other_weights_are_not_mixed_in(refused, tiny, undisturbed, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny.checkpoint)
    weights['cls_head.fc_cls.bias'][0] += 1e-6
    save_file(weights, tmp_path / 'other.safetensors')
    given = (tiny.six_views, tmp_path / 'other.safetensors', *VARIANTS, '--work-dir', undisturbed)
    refused('test', *given, said=('scores of a run with other weights: ',))


def test_what_may_change_between_sessions(tiny, undisturbed) -> None:
    """Workers, chunks of views, policies: they change no score."""
    options = ('test_dataloader.num_workers=1', 'test_cfg.max_views_per_forward=3')
    data = ('on_broken="error"', 'time_limit_s=9', 'decoders=["pyav"]')
    options += tuple(f'test_dataloader.dataset.{setting}' for setting in data)
    assert evaluate(tiny, '--work-dir', undisturbed, '--cfg-options', *options) == 0


@pytest.fixture
def listed(tiny, tmp_path, child) -> Path:
    """A config of four videos, the second and third of which are broken."""
    names = [tiny.folder / 'videos' / name for name in tiny.names[:2]]
    (tmp_path / 'empty.mp4').touch()
    lines = [f'{names[0]} 1', f'{tmp_path}/empty.mp4 2', f'{tmp_path}/gone.mp4 3', f'{names[1]} 4']
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    return child(f'test_dataloader = dict(dataset=dict(ann_file={str(tmp_path / "list.txt")!r}))')


def test_broken_videos_are_left_out_listed_and_tried_again_where_asked(
    listed, tiny, tmp_path, capsys
) -> None:
    folder = tmp_path / 'run'
    assert run_tool('test', listed, tiny.checkpoint, '--work-dir', folder) == 0
    said = capsys.readouterr().out
    assert '2 of 4 videos x 1 view.' in ' '.join(said.split())
    reasons = {'empty.mp4': 'it is empty (0 bytes)', 'gone.mp4': 'there is no such file'}
    for name, reason in reasons.items():
        assert f'  {tmp_path}/{name}: {reason}\n' in said
    with (folder / 'left_out.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['name'], row['label'], row['reason']) for row in rows] == [
        (f'{tmp_path}/{name}', str(label), reason)
        for label, (name, reason) in enumerate(reasons.items(), 2)
    ]
    found = json.loads((folder / 'results.json').read_text())
    assert (found['environment']['num_videos'], found['environment']['num_listed']) == (2, 4)
    assert [video['reason'] for video in found['left_out']] == list(reasons.values())
    assert '2 of 4 videos' in (folder / 'results.md').read_text()
    assert read_scores(folder / 'scores.npz').labels.tolist() == [1, 4]
    mended = (tiny.folder / 'videos' / tiny.names[2]).read_bytes()
    (tmp_path / 'empty.mp4').write_bytes(mended)
    for options, labels in (((), [1, 4]), (('--retry-broken',), [1, 2, 4])):
        arguments = (listed, tiny.checkpoint, '--work-dir', folder, *options)
        assert run_tool('test', *arguments) == 0
        assert read_scores(folder / 'scores.npz').labels.tolist() == labels
    assert '3 of 4 videos' in ' '.join(capsys.readouterr().out.split())


def test_resume_where_there_is_nothing(refused, tiny) -> None:
    given = (tiny.six_views, tiny.checkpoint, '--resume')
    refused('test', *given, said=('--resume: work_dirs/six_views holds no run of this config',))
