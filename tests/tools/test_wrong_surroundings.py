"""Folders, launchers, devices and numbers that cannot be: one clear line each."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sta.datasets.transforms import OpenVideo
from sta.report.writers import read_scores
from tests.datasets.test_transport import with_small_shm

from .tiny import NUM_VIDEOS, ROOT, Tiny, run_tool

Refused = Callable[..., str]
LAUNCHED = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_PROCID', 'SLURM_NTASKS')


@pytest.fixture(autouse=True)
def not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.setenv(name, '1')  # as torchrun does; mmengine would warn and set them


@pytest.mark.parametrize('number', ['0', '-1'])
def test_no_videos(refused: Refused, tiny: Tiny, number: str) -> None:
    refused('test', tiny.one_view, '--max-videos', number, said=('at least 1', f'got {number}'))


@pytest.mark.parametrize('tool', ['test', 'train'])
@pytest.mark.parametrize('below', [False, True], ids=['a file', 'below a file'])
def test_a_work_dir_that_is_a_file(
    refused: Refused, tiny: Tiny, tmp_path: Path, tool: str, below: bool
) -> None:
    folder = tmp_path / 'notes.txt'
    folder.write_text('notes')
    folder = folder / 'run' if below else folder
    config = tiny.one_view if tool == 'test' else tiny.training
    refused(tool, config, '--work-dir', folder, said=(str(folder),))


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='needs a folder nobody can write to')
@pytest.mark.parametrize('tool', ['test', 'train'])
def test_a_work_dir_that_cannot_be_written(refused: Refused, tiny: Tiny, tool: str) -> None:
    config = tiny.one_view if tool == 'test' else tiny.training
    refused(tool, config, '--work-dir', '/proc/results', said=('/proc/results',))


def test_results_are_never_written_over(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    found = tmp_path / 'run' / 'results.json'
    found.parent.mkdir()
    found.write_text('precious')
    said = (str(found.parent), 'already holds results.json', 'another folder')
    refused('test', tiny.one_view, tiny.checkpoint, '--work-dir', found.parent, said=said)
    assert found.read_text() == 'precious'
    assert [path.name for path in found.parent.iterdir()] == ['results.json']


@pytest.mark.parametrize(
    ('tool', 'arguments', 'said'),
    [
        ('test', ['--amp', 'fp8'], ('--amp', "'fp8'", "'bf16'", "'fp16'")),
        ('test', ['--launcher', 'mpi'], ('--launcher', "'mpi'", "'slurm'")),
        ('test', ['--max-videos', 'all'], ('--max-videos', "'all'")),
        ('test', ['--schedule'], ('--schedules',)),
        ('train', ['--amp', 'fp8'], ('--amp', "'fp8'", "'bf16'")),
        ('benchmark', ['--dtype', 'int8'], ('--dtype', "'int8'", "'fp32'")),
        ('benchmark', ['--vs', 'timm'], ('--vs', "'timm'", "'mmaction2'")),
    ],
)
def test_what_argparse_refuses(
    misused: Callable[..., None], tool: str, arguments: list[str], said: tuple[str, ...]
) -> None:
    misused(tool, 'any.py', *arguments, said=said)


@pytest.mark.parametrize('tool', ['test', 'train'])
def test_torchrun_is_needed(refused: Refused, tiny: Tiny, tool: str) -> None:
    config = tiny.one_view if tool == 'test' else tiny.training
    refused(tool, config, '--launcher', 'pytorch', said=('RANK', 'WORLD_SIZE', 'torchrun'))


@pytest.mark.parametrize('tool', ['test', 'train'])
def test_srun_is_needed(refused: Refused, tiny: Tiny, tool: str) -> None:
    config = tiny.one_view if tool == 'test' else tiny.training
    refused(tool, config, '--launcher', 'slurm', said=('outside of srun', 'SLURM_PROCID'))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_benchmark_needs_the_gpu_it_is_told_to_use(refused: Refused, tiny: Tiny) -> None:
    refused('benchmark', tiny.one_view, '--device', 'cuda', said=('--device cuda', 'no GPU'))


@pytest.mark.parametrize('flag', ['--rounds', '--batch-size'])
@pytest.mark.parametrize('number', ['0', '-3'])
def test_a_benchmark_of_nothing(refused: Refused, tiny: Tiny, flag: str, number: str) -> None:
    refused('benchmark', tiny.one_view, flag, number, said=(flag, 'at least 1'))


def test_a_negative_warm_up(refused: Refused, tiny: Tiny) -> None:
    arguments = ('--schedules', '0', '--rounds', '1', '--warm-up', '-1')
    refused('benchmark', tiny.one_view, *arguments, said=('--warm-up', 'at least 0'))


def test_figures_that_cannot_be_written(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    arguments = ('--schedules', '0', '--rounds', '1', '--csv', tmp_path)
    refused('benchmark', tiny.one_view, *arguments, said=(str(tmp_path),))


def test_a_process_of_its_own_ends_the_same_way(tiny: Tiny) -> None:
    command = [sys.executable, str(ROOT / 'tools' / 'test.py'), str(tiny.one_view), 'no.pth']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 2
    assert done.stderr == 'error: checkpoint no.pth does not exist\n'
    assert done.stdout == ''


WORKERS = ('test_dataloader.num_workers=2', 'test_dataloader.batch_size=1')


def test_a_dev_shm_that_holds_no_batch(tiny: Tiny, tmp_path: Path, child: Callable) -> None:
    """Docker's is 64 MB; a batch of these is 0.6 MB, and four of them are on their way."""
    text = 'train_dataloader = dict(num_workers=2, batch_size=4, dataset=dict(max_videos=4))'
    training = child(text, tiny.training)

    def work() -> int:
        options = ('--work-dir', tmp_path / 'test', '--schedules', '0', '--examples', '0')
        options += ('--cfg-options', *WORKERS[:1])
        code = run_tool('test', tiny.six_views, tiny.checkpoint, *options)
        return code or run_tool('train', training, '--work-dir', tmp_path / 'train')

    assert with_small_shm('500k', work) == 0
    assert (tmp_path / 'test' / 'results.json').exists()
    assert (tmp_path / 'train' / 'epoch_2.pth').exists()


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Something happens to the process that opens the fourth video."""
    # torch raises for it at any moment: in its own lazy imports that would leave half a module.
    importlib.import_module('torch._dynamo')

    def install(happens: Callable[[], None]) -> None:
        opened = OpenVideo.transform

        def transform(self: OpenVideo, results: dict) -> dict:
            if 'clip 3' in results['filename']:
                happens()
            return opened(self, results)

        monkeypatch.setattr(OpenVideo, 'transform', transform)

    return install


def test_a_worker_that_dies_costs_nothing_that_was_scored(
    tiny: Tiny, tmp_path: Path, refused: Refused, deadly: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'run'
    command = (tiny.one_view, tiny.checkpoint, '--schedules', '0', '--examples', '0')
    command += ('--work-dir', folder, '--cfg-options', *WORKERS)
    deadly(lambda: os.kill(os.getppid(), signal.SIGKILL))
    said = ('a data loading worker died: it was killed (is memory short?)', 'is kept')
    refused('test', *command, said=(*said, '--cfg-options test_dataloader.num_workers=N'))
    assert not (folder / 'results.json').exists()
    monkeypatch.undo()
    assert run_tool('test', *command, 'test_dataloader.num_workers=0') == 0
    found = json.loads((folder / 'results.json').read_text())['environment']
    assert len(read_scores(folder / 'scores.npz').names) == NUM_VIDEOS
    assert found['resumed'] < NUM_VIDEOS


def test_a_video_whose_decoding_was_killed_is_decoded_again(
    tiny: Tiny, tmp_path: Path, deadly: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is short of memory, not broken: a run that was cut off does not count it as done."""
    folder = tmp_path / 'run'
    command = (tiny.one_view, tiny.checkpoint, '--schedules', '0', '--examples', '0')
    command += ('--work-dir', folder)
    deadly(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with monkeypatch.context() as cut_off:
        cut_off.setattr('sta.engine.variant_loop.assemble', None)
        with pytest.raises(TypeError):
            run_tool('test', *command)
    monkeypatch.undo()
    assert run_tool('test', *command) == 0
    assert len(read_scores(folder / 'scores.npz').names) == NUM_VIDEOS


@pytest.mark.parametrize('tool', ['train', 'predict', 'fidelity'])
def test_a_worker_that_dies_elsewhere(
    tiny: Tiny, tmp_path: Path, refused: Refused, deadly: Callable, child: Callable, tool: str
) -> None:
    deadly(lambda: os.kill(os.getpid() if tool == 'train' else os.getppid(), signal.SIGKILL))
    said = ('a data loading worker died: it was killed', 'run the same command again')
    if tool == 'train':
        config = child('train_dataloader = dict(num_workers=2)', tiny.training)
        said += ('with --resume and', 'train_dataloader.num_workers=N')
        refused('train', config, '--work-dir', tmp_path / 'run', said=said)
        return
    options = ('--schedules', '0', '--cfg-options', *WORKERS)
    said += ('test_dataloader.num_workers=N',)
    if tool == 'predict':
        command = ('predict', tiny.one_view, tiny.checkpoint, tiny.folder / 'videos')
    else:
        command = ('measure_fidelity', tiny.one_view, tiny.checkpoint, '--out', tmp_path / 'run')
    refused(*command, *options, said=said)
