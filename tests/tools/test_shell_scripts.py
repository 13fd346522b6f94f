"""OpenMMLab's shell scripts: the order of arguments, the variables, and what they start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .tiny import ROOT

FAKE_SRUN = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


@pytest.fixture
def programs(tmp_path) -> Path:
    """srun that prints its words, and sinfo of a partition without GPUs."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name, text in (('srun', FAKE_SRUN), ('sinfo', '#!/bin/sh\necho "(null)"\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def run(
    script: str, *words: str, path: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    if path is not None:
        environment['PATH'] = f'{path}:{environment["PATH"]}'
    command = [str(ROOT / 'tools' / script), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_slurm_test_on_cpus(programs) -> None:
    given = ('cpu', 'job', 'c.py', 'k.pth', '--amp', 'bf16')
    variables = dict(GPUS='3', CPUS_PER_TASK='2', SRUN_ARGS='-J x', PY_ARGS='--max-videos 9')
    done = run('slurm_test.sh', *given, path=programs, PYTHON='py', **variables)
    words = ['-p', 'cpu', '--job-name=job', '--ntasks=3', '--ntasks-per-node=3']
    words += ['--cpus-per-task=2', '--kill-on-bad-exit=1', '-J', 'x', 'py', '-u']
    words += [str(ROOT / 'tools/test.py'), 'c.py', 'k.pth', '--max-videos', '9']
    assert done.stdout.split() == [*words, '--amp', 'bf16', '--launcher', 'slurm']
    assert done.stderr == ''


def test_slurm_train_on_gpus(programs) -> None:
    (programs / 'sinfo').write_text('#!/bin/sh\necho gpu:a100:8\n')
    done = run('slurm_train.sh', 'gpu', 'job', 'c.py', path=programs, GPUS='16', PYTHON='py')
    words = ['-p', 'gpu', '--job-name=job', '--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8']
    words += ['--cpus-per-task=5', '--kill-on-bad-exit=1', 'py', '-u']
    words += [str(ROOT / 'tools/train.py'), 'c.py', '--launcher', 'slurm']
    assert done.stdout.split() == words


@pytest.mark.parametrize(
    ('script', 'words'), [('dist_test.sh', ['c.py', 'k.pth']), ('dist_train.sh', ['c.py'])]
)
def test_torchrun_looks_for_a_port(script, words) -> None:
    tool = str(ROOT / 'tools' / script.removeprefix('dist_').replace('.sh', '.py'))
    common = ['--nproc_per_node', '2', tool, *words, '--a', 'b', '--launcher', 'pytorch']
    given = (*words, '2', '--a', 'b')
    done = run(script, *given, PYTHON='echo')
    launcher, _, given_to_it = done.stdout.partition('--standalone')
    assert launcher.startswith('-c ') and 'torch.distributed.run import main' in launcher
    assert given_to_it.split() == common
    several = dict(NNODES='3', NODE_RANK='1', MASTER_ADDR='a', PORT='7')
    done = run(script, *given, PYTHON='echo', **several)
    meeting = ['--nnodes', '3', '--node_rank', '1', '--master_addr', 'a', '--master_port', '7']
    assert done.stdout.split()[-len([*meeting, *common]) :] == [*meeting, *common]
    done = run(script, *given, PYTHON='echo', NNODES='3')
    assert done.returncode and 'MASTER_ADDR: of the first of the NNODES machines' in done.stderr


@pytest.mark.parametrize(
    ('death', 'status', 'how'),
    [
        ('os._exit(3)', 3, 'ended with status 3'),
        ('os.kill(os.getpid(), 9)', 1, 'was ended by SIGKILL, is memory short?'),
    ],
)
def test_a_process_that_dies_is_one_line(tmp_path, death, status, how) -> None:
    """The launcher of dist_test.sh, with a tool that needs no model."""
    tools = tmp_path / 'tools'
    tools.mkdir()
    for name in ('dist_test.sh', 'torchrun.sh'):
        shutil.copy(ROOT / 'tools' / name, tools)
    text = f'import os, time\nif os.environ["RANK"] == "1": {death}\ntime.sleep(60)\n'
    (tools / 'test.py').write_text(text)
    done = subprocess.run(
        ['bash', tools / 'dist_test.sh', 'c.py', 'k.pth', '2'],
        env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == f'error: process 1 {how}; the others were stopped\n'
    assert done.returncode == status


@pytest.mark.parametrize(
    ('script', 'words'),
    [
        ('slurm_test.sh', ['p', 'job', 'c.py']),
        ('slurm_train.sh', ['p', 'job']),
        ('dist_test.sh', ['c.py', 'k.pth']),
        ('dist_test.sh', ['c.py', 'k.pth', 'all']),
        ('dist_train.sh', ['c.py']),
    ],
)
def test_too_few_words(script, words) -> None:
    done = run(script, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: tools/{script} ')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('name', ['GPUS', 'GPUS_PER_NODE'])
def test_numbers_that_are_none(programs, name) -> None:
    done = run('slurm_train.sh', 'p', 'job', 'c.py', path=programs, **{name: '0'})
    assert done.returncode == 2
    assert done.stderr == 'error: GPUS and GPUS_PER_NODE are numbers from 1 on, got 0\n'


def test_no_srun_here(tmp_path) -> None:
    for name in ('bash', 'dirname', 'env'):
        (tmp_path / name).symlink_to(f'/usr/bin/{name}')
    done = run('slurm_train.sh', 'p', 'job', 'c.py', PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == 'error: srun not found: is this a SLURM machine?\n'
