"""What torch is told about the processes, by example."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from sta.engine.launch import first_host, slurm_environment, start_processes
from sta.errors import LaunchError

SRUN = {
    'SLURM_PROCID': '5',
    'SLURM_NTASKS': '16',
    'SLURM_LOCALID': '1',
    'SLURM_NODELIST': 'gpu[03-07,12],cpu1',
    'SLURM_JOB_ID': '1234567',
}


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [
        ('gpu[03-07,12],cpu1', 'gpu03'),
        ('node7', 'node7'),
        ('a[1],b2', 'a1'),
        ('n1,n2', 'n1'),
        ('n[12,14-15]', 'n12'),
        ('rack-3-[001-128]', 'rack-3-001'),
        ('gpu01.cluster.org', 'gpu01.cluster.org'),
    ],
)
def test_the_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_node_list_without_a_node_is_refused() -> None:
    with pytest.raises(LaunchError, match='SLURM_NODELIST'):
        first_host('')


def test_host_names_may_go_on_after_the_bracket() -> None:
    assert first_host('n[1-4]-ib') == 'n1-ib'


def test_srun_tells_everything() -> None:
    assert slurm_environment(SRUN) == {
        'RANK': '5',
        'WORLD_SIZE': '16',
        'LOCAL_RANK': '1',
        'MASTER_ADDR': 'gpu03',
    }


def test_an_address_that_is_set_already_wins() -> None:
    assert slurm_environment({**SRUN, 'MASTER_ADDR': '10.0.0.1'})['MASTER_ADDR'] == '10.0.0.1'


@pytest.mark.parametrize('name', sorted(SRUN))
def test_a_missing_variable_of_slurm_is_named(name: str) -> None:
    rest = {key: value for key, value in SRUN.items() if key != name}
    with pytest.raises(LaunchError, match=f'outside of srun: {name} not set'):
        slurm_environment(rest)


@pytest.mark.parametrize('name', ['RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'])
def test_a_missing_variable_of_torchrun_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': '1'}
    for key, value in values.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv(name)
    with pytest.raises(LaunchError, match=f'--launcher pytorch needs {name} in the environment'):
        start_processes('pytorch')


def test_a_single_process_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    start_processes('none')
    assert not dist.is_initialized()


def test_several_processes_need_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(LaunchError, match='2 processes were started without --launcher'):
        start_processes('none')
