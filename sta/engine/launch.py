"""Start the processes' conversation: torchrun or srun, GPUs or CPUs.

Tasks of one srun agree on a free port without asking SLURM for anything.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from sta.atomic import write_text
from sta.errors import LaunchError

Decision = TypeVar('Decision')
LAUNCHERS = ('none', 'pytorch', 'slurm')
FOLDER = Path('work_dirs', '.ports')
# Names that one start of srun does not share with any other: of another job, step or attempt.
_NAMES = ('SLURM_JOB_ID', 'SLURM_STEP_ID', 'SLURM_RESTART_COUNT', 'SLURM_SRUN_COMM_PORT')


def start_processes(launcher: str) -> None:
    """Join the process group, with nccl where there is a GPU per process and gloo elsewhere.

    Args:
        launcher: 'none' (a single process), 'pytorch' (torchrun) or 'slurm' (srun).

    Raises:
        LaunchError: environment variables of the launcher are missing.
    """
    if dist.is_initialized():
        return
    if launcher == 'none':
        if int(os.environ.get('WORLD_SIZE', 1)) > 1:
            raise LaunchError(
                f'{os.environ["WORLD_SIZE"]} processes were started without --launcher: each '
                f'would do all the work; add --launcher pytorch'
            )
        return
    shares_port = launcher == 'slurm' and not os.environ.get('MASTER_PORT')
    if launcher == 'slurm':
        os.environ.update(slurm_environment(os.environ))
    if shares_port:
        os.environ['MASTER_PORT'] = agree_on_port(os.environ)
    missing = [
        n for n in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if n not in os.environ
    ]
    if missing:
        raise LaunchError(
            f'--launcher {launcher} needs {", ".join(missing)} in the environment: start with '
            f'torchrun --nproc_per_node=N SCRIPT ... --launcher pytorch'
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    dist.init_process_group('nccl' if torch.cuda.is_available() else 'gloo')
    if shares_port and dist.get_rank() == 0:
        forget_port(os.environ)


def first_decides(decide: Callable[[], Decision]) -> Decision:
    """What the first process decides, for all of them; its error is everybody's.

    Args:
        decide: called in the first process alone; gives something that can be pickled.
    """
    if not dist.is_initialized():
        return decide()
    box: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            box[0] = decide()
        except Exception as error:  # the others wait: they must hear of it
            box[1] = error
    # A list of its own: in the first process the decision itself must not be replaced by a copy.
    shared = list(box)
    dist.broadcast_object_list(shared)
    decision, refusal = box if dist.get_rank() == 0 else shared
    if refusal is not None:
        raise refusal
    return decision


def slurm_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What torch wants to know, from what srun tells every task; needs no scontrol.

    Raises:
        LaunchError: not inside srun.
    """
    names = ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', 'SLURM_NODELIST', 'SLURM_JOB_ID')
    missing = [name for name in names if name not in environment]
    if missing:
        raise LaunchError(f'--launcher slurm outside of srun: {", ".join(missing)} not set')
    rank, size, local, nodes, _ = (environment[name] for name in names)
    return {
        'RANK': rank,
        'WORLD_SIZE': size,
        'LOCAL_RANK': local,
        'MASTER_ADDR': environment.get('MASTER_ADDR') or first_host(nodes),
    }


def first_host(nodes: str) -> str:
    """First name of a SLURM node list: 'gpu[03-07,12]-ib,cpu1' gives 'gpu03-ib'."""
    match = re.match(r'([^,\[]+)(?:\[([^\]]+)\]([^,\[]*))?', nodes)
    if match is None:
        raise LaunchError(f'SLURM_NODELIST {nodes!r} names no node')
    prefix, ranges, suffix = match.groups(default='')
    return prefix + re.split(r'[,-]', ranges)[0] + suffix


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
        LaunchError: the file does not appear.
    """
    if environment['RANK'] == '0':
        port = str(free_port())
        if environment['WORLD_SIZE'] != '1':
            write_text(port_file(environment, folder), port)
        return port
    path, deadline = port_file(environment, folder), time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            return path.read_text()
        time.sleep(0.1)
    raise LaunchError(
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
