"""Several processes share the videos; every video counts once."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.report import read_scores

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
def whole(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All videos in one process."""
    folder = tmp_path_factory.mktemp('processes') / 'one'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, '--work-dir', folder, *VARIANTS) == 0
    assert len(read_scores(folder / 'scores.npz').names) == NUM_VIDEOS
    return folder


@pytest.mark.parametrize('number', [2, 3])
def test_processes_share_the_videos(tiny: Tiny, whole: Path, tmp_path: Path, number: int) -> None:
    """7 videos: 4 + 3, and 3 + 2 + 2."""
    arguments = (tiny.one_view, tiny.checkpoint, '--work-dir', tmp_path / 'run', *VARIANTS)
    codes = run_forked(torchrun_environments(number), *arguments, '--launcher', 'pytorch')
    assert codes == [0] * number
    assert_same_scores(tmp_path / 'run', whole)


@pytest.mark.parametrize('videos', ['4', '3'])
def test_fewer_videos_than_there_are(tiny: Tiny, tmp_path: Path, videos: str) -> None:
    given = (tiny.one_view, tiny.checkpoint, *VARIANTS, '--max-videos', videos, '--work-dir')
    assert run_tool('test', *given, tmp_path / 'one') == 0
    codes = run_forked(torchrun_environments(2), *given, tmp_path / 'two', '--launcher', 'pytorch')
    assert codes == [0, 0]
    assert_same_scores(tmp_path / 'two', tmp_path / 'one')


def test_more_processes_than_videos(tiny: Tiny, tmp_path: Path) -> None:
    given = (tiny.one_view, tiny.checkpoint, *VARIANTS, '--max-videos', '1', '--work-dir')
    codes = run_forked(torchrun_environments(2), *given, tmp_path / 'run', '--launcher', 'pytorch')
    assert codes == [0, 0]


def test_srun_needs_nothing_but_its_variables(tiny: Tiny, whole: Path, tmp_path: Path) -> None:
    shared = {'SLURM_NTASKS': '2', 'SLURM_NODELIST': 'localhost', 'SLURM_JOB_ID': '1'}
    shared['MASTER_PORT'] = str(free_port())  # the job's own port may be taken here
    environments = [{**shared, 'SLURM_PROCID': str(i), 'SLURM_LOCALID': str(i)} for i in (0, 1)]
    arguments = (tiny.one_view, tiny.checkpoint, '--work-dir', tmp_path / 'run', *VARIANTS)
    assert run_forked(environments, *arguments, '--launcher', 'slurm') == [0, 0]
    assert_same_scores(tmp_path / 'run', whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_two_processes_train_as_one_with_twice_the_batch(tiny: Tiny, tmp_path: Path) -> None:
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
def test_torchrun(tiny: Tiny, whole: Path, tmp_path: Path) -> None:
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
