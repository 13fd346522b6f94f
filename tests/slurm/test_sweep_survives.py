"""An array of jobs that are cancelled, preempted, killed and wrong still ends with one table."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sta.report import Scores, read_scores
from sta.sweeps.job import count_stored

from .cluster import Cluster, status

CONFIGS = {
    'vit': ('configs/sta_vit_motions.py', 'checkpoints/sta_vit_motions.safetensors', ['0', '8']),
    'swin': (
        'configs/sta_swin_motions.py',
        'checkpoints/sta_swin_motions.safetensors',
        ['0', '8,2'],
    ),
}
COMMON = ('--max-videos', '64', '--cfg-options', 'test_dataloader.batch_size=2')
SWEEP = """\
evaluations:
  - {name: vit, config: configs/sta_vit_motions.py, schedules: [0, 8],
     checkpoint: checkpoints/sta_vit_motions.safetensors}
  - {name: swin, config: configs/sta_swin_motions.py, schedules: [0, [8, 2]],
     checkpoint: checkpoints/sta_swin_motions.safetensors}
  - {name: wrong, config: configs/sta_swin_motions.py, schedules: [0], shards: 1,
     checkpoint: checkpoints/sta_vit_motions.safetensors}
max_videos: 64
cfg_options: test_dataloader.batch_size=2
shards: 2
executor: slurm
partition: test
time: 30
cpus_per_task: 1
"""


def table(folder: Path) -> list[Mapping[str, str]]:
    with (folder / 'results.csv').open() as file:
        return [{k: v for k, v in r.items() if k != 'clips_per_s'} for r in csv.DictReader(file)]


def assert_same(folder: Path, expected: Path) -> None:
    found, wanted = read_scores(folder / 'scores.npz'), read_scores(expected / 'scores.npz')
    for field in Scores._fields:
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
    assert table(folder) == table(expected)


def test_whatever_happens_to_jobs(cluster: Cluster, tmp_path: Path) -> None:
    file, folder = tmp_path / 'sweep.yaml', tmp_path / 'sweep'
    file.write_text(SWEEP)
    command = (file, '--sweep-dir', folder)
    submitted = cluster.tool('sweep', *command)
    assert submitted.returncode == 0, submitted.stderr
    assert 'submitted 5 elements as' in submitted.stdout
    array = submitted.stdout.split(' as ')[1].split('_')[0]
    vit, swin = ([folder / f'elements/{n}/{i}of2' for i in (1, 2)] for n in ('vit', 'swin'))
    # They must not end before the test comes to them.
    for held in (f'{array}_2', f'{array}_3'):
        assert cluster.run('scontrol', 'hold', held).returncode == 0

    # Cancelled and requeued by hand in the middle.
    cluster.wait_mid_run(vit[0], f'{array}_0')
    cluster.run('scancel', f'{array}_0')
    cluster.wait(lambda: f'{array}_0' not in cluster.queue(), 'cannot be cancelled')
    stored = count_stored(vit[0])
    assert 0 < stored < 32
    assert cluster.run('scontrol', 'requeue', f'{array}_0').returncode == 0
    assert 'so far, of 64' in cluster.tool('collect', folder).stdout
    assert (folder / 'results.csv').is_file()
    cluster.start_now(f'{array}_0')
    during = cluster.start('collect', folder)  # beside whatever runs now

    # Out of time or preempted: SLURM sends the signal that submitit asked for.
    cluster.run('scontrol', 'release', f'{array}_2')
    cluster.wait_mid_run(swin[0], f'{array}_2')
    cluster.run('scancel', '--signal=USR2', f'{array}_2')
    cluster.wait(lambda: status(swin[0])['event'] == 'requeued', 'is not requeued')
    cluster.start_now(f'{array}_2')

    # Killed the hard way: job, and with it what it started.
    cluster.run('scontrol', 'release', f'{array}_3')
    cluster.wait_mid_run(swin[1], f'{array}_3')
    os.kill(status(swin[1])['pid'], signal.SIGKILL)
    cluster.wait_empty()
    assert 0 < count_stored(swin[1]) < 32
    said = during.communicate(timeout=300)[0]
    assert during.returncode in (0, 1), said

    collected = cluster.tool('collect', folder)
    assert collected.returncode == 1
    states = {
        e['element']: e for e in json.loads((folder / 'results.json').read_text())['elements']
    }
    assert {name: one['state'] for name, one in states.items()} == {
        'vit 1/2': 'done',
        'vit 2/2': 'done',
        'swin 1/2': 'done',
        'swin 2/2': 'failed',
        'wrong': 'failed',
    }
    assert states['swin 2/2']['reason'] == 'cancelled or killed'
    assert 'does not fit the model' in collected.stdout  # the last lines of the log
    assert status(vit[0])['attempt'] == status(swin[0])['attempt'] == 2
    assert status(vit[0])['stored_before'] == stored  # it went on, and did not begin again
    assert 0 < status(swin[0])['stored_before'] < 32

    # The same command starts what is missing, and nothing else.
    again = cluster.tool('sweep', *command)
    assert '3 done before, 0 running or queued, 2 to start' in again.stdout, again.stderr
    cluster.wait_empty()
    assert cluster.tool('collect', folder).returncode == 1  # one of them is still wrong
    states = json.loads((folder / 'results.json').read_text())['elements']
    assert [one['state'] for one in states] == ['done'] * 4 + ['failed']
    assert 0 < status(swin[1])['stored_before'] < 32

    for name, (config, checkpoint, schedules) in CONFIGS.items():
        given = (config, checkpoint, '--schedules', *schedules, *COMMON)
        alone = cluster.tool('test', *given, '--work-dir', tmp_path / name)
        assert alone.returncode == 0, alone.stderr
        assert_same(folder / 'results' / name, tmp_path / name)


def test_the_shell_script_of_openmmlab(cluster: Cluster, tmp_path: Path) -> None:
    """Two tasks of srun on CPUs, that agree on a port of their own."""
    config, checkpoint, schedules = CONFIGS['vit']
    variables = ('env', 'GPUS=2', 'CPUS_PER_TASK=1', 'PY_ARGS=--max-videos 32')
    words = ('tools/slurm_test.sh', 'test', 'job', config, checkpoint, '--schedules', *schedules)
    folder = tmp_path / 'two'
    done = cluster.run(*variables, *words, '--work-dir', folder)
    assert done.returncode == 0, done.stderr
    given = (config, checkpoint, '--schedules', *schedules, '--max-videos', 32)
    assert cluster.tool('test', *given, '--work-dir', tmp_path / 'one').returncode == 0
    assert_same(folder, tmp_path / 'one')
    assert len(list(folder.glob('scores/*.sqlite'))) == 2


def test_what_sbatch_refuses(cluster: Cluster, tmp_path: Path) -> None:
    config, checkpoint, _ = CONFIGS['vit']
    given = ('--configs', config, '--checkpoints', checkpoint, '--executor', 'slurm')
    refused = cluster.tool('sweep', *given, '--partition', 'nowhere', '--sweep-dir', tmp_path / 's')
    assert refused.returncode == 2
    assert refused.stderr.startswith('error: sbatch refused: ')
    assert 'invalid partition specified: nowhere' in refused.stderr
    assert refused.stderr.count('\n') == 1
