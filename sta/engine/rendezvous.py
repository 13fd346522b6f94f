"""A free port that all tasks of one srun agree on, without asking SLURM for anything."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

FOLDER = Path('work_dirs', '.ports')
# Names that one start of srun does not share with any other: of another job, step or attempt.
_NAMES = ('SLURM_JOB_ID', 'SLURM_STEP_ID', 'SLURM_RESTART_COUNT', 'SLURM_SRUN_COMM_PORT')


class PortError(RuntimeError):
    """The first task did not say where it listens."""


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('', 0))
        return probe.getsockname()[1]


def agree_on_port(
    environment: Mapping[str, str], *, folder: Path = FOLDER, patience_s: float = 300.0
) -> str:
    """The first task looks for a free port and leaves it in a file, the others read it there.

    Two jobs or steps on one node so never meet, as they would with fixed ports.

    Args:
        environment: of a task of srun, with RANK and WORLD_SIZE.
        folder: on a file system that all nodes see, as the results are.
        patience_s: how long to wait for the first task.

    Raises:
        PortError: the file does not appear.
    """
    if environment['RANK'] == '0':
        port = str(free_port())
        if environment['WORLD_SIZE'] != '1':
            folder.mkdir(parents=True, exist_ok=True)
            path = port_file(environment, folder)
            partial = path.with_name(f'{path.name}.part')
            partial.write_text(port)
            partial.replace(path)
        return port
    path, deadline = port_file(environment, folder), time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            return path.read_text()
        time.sleep(0.1)
    raise PortError(
        f'{path.resolve()} does not appear: do all nodes see this folder? set MASTER_PORT to do '
        f'without it'
    )


def forget_port(environment: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Remove the file; once all are connected nobody needs it."""
    with suppress(OSError):
        port_file(environment, folder).unlink()
        folder.rmdir()  # when it is the last one


def port_file(environment: Mapping[str, str], folder: Path = FOLDER) -> Path:
    """Where the tasks of this srun look."""
    return folder / '.'.join(environment.get(name, '0') for name in _NAMES)
