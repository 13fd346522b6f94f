"""What torch is told about the processes, by example; tasks of one srun agree on a free port."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import torch.distributed as dist

from sta.engine.launch import (
    agree_on_port,
    first_host,
    forget_port,
    port_file,
    slurm_environment,
    start_processes,
)
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


TASK = {'SLURM_JOB_ID': '7', 'SLURM_STEP_ID': '0', 'SLURM_SRUN_COMM_PORT': '4242'}
FIRST = {**TASK, 'RANK': '0', 'WORLD_SIZE': '3'}


def test_all_tasks_get_the_port_of_the_first(tmp_path: Path) -> None:
    folder, found = tmp_path / 'ports', []
    others = [
        threading.Thread(
            target=lambda rank=rank: found.append(
                agree_on_port({**FIRST, 'RANK': rank}, folder=folder, patience_s=20)
            )
        )
        for rank in '12'
    ]
    for other in others:  # they come before the first one
        other.start()
    port = agree_on_port(FIRST, folder=folder)
    for other in others:
        other.join()
    assert found == [port, port]
    with socket.socket() as probe:
        probe.bind(('', int(port)))  # it is free
    forget_port(FIRST, folder)
    assert not folder.exists()


@pytest.mark.parametrize('name', ['SLURM_JOB_ID', 'SLURM_STEP_ID', 'SLURM_RESTART_COUNT'])
def test_another_job_step_or_attempt_has_a_file_of_its_own(name: str) -> None:
    assert port_file({**TASK, name: '8'}) != port_file(TASK)


def test_one_task_leaves_no_file(tmp_path: Path) -> None:
    assert int(agree_on_port({**FIRST, 'WORLD_SIZE': '1'}, folder=tmp_path / 'ports')) > 0
    assert not (tmp_path / 'ports').exists()


def test_a_first_task_that_never_comes(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match='7.0.0.4242 does not appear: do all nodes see'):
        agree_on_port({**FIRST, 'RANK': '1'}, folder=tmp_path, patience_s=0.1)
