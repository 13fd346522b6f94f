"""Tasks of one srun agree on a free port, those of two never meet."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from sta.engine.rendezvous import PortError, agree_on_port, forget_port, port_file

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
    with pytest.raises(PortError, match='7.0.0.4242 does not appear: do all nodes see'):
        agree_on_port({**FIRST, 'RANK': '1'}, folder=tmp_path, patience_s=0.1)
