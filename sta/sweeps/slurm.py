"""Elements as one array job of SLURM, through submitit."""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from sta.errors import ConfigError

from .job import ElementJob
from .plan import Resources

ROOT = Path(__file__).resolve().parents[2]
# An attempt that is out of time goes on from its scores, so there may be many.
MAX_TIMEOUTS = 100
# Before the end of the time or of the grace period: enough to stop and to be requeued.
SIGNAL_DELAY_S = 90


class _AnywhereExecutor(SlurmExecutor):
    """Writes its script where there is no SLURM as well."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def submit_array(
    jobs: Sequence[ElementJob], name: str, resources: Resources, folder: Path
) -> list[str]:
    """Submit all jobs as one array.

    Args:
        jobs: of elements.
        name: shown in the queue.
        resources: of each.
        folder: of submitit's scripts, pickles and logs.

    Returns:
        The id of each job, '123_4'.

    Raises:
        ConfigError: sbatch is not there, or refuses; says why.
    """
    if shutil.which('sbatch') is None:
        raise ConfigError(
            'executor slurm: sbatch not found on this machine; start from a login node of the '
            'cluster, or take --executor local'
        )
    executor = _executor(name, resources, folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit repeats there what it raises
            return [job.job_id for job in executor.submit_array(jobs)]
    except FailedJobError as error:
        raise ConfigError(f'sbatch refused: {_reason(error)}') from None


def script_text(number: int, name: str, resources: Resources, folder: Path) -> str:
    """What sbatch would get for so many jobs; nothing is written."""
    executor = _executor(name, resources, folder)
    if number > 1:
        executor.parameters['map_count'] = number
    return executor._make_submission_file_text(executor._submitit_command_str, 'dry-run')


def _executor(name: str, resources: Resources, folder: Path) -> SlurmExecutor:
    executor = _AnywhereExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    gpus = resources.gpus_per_task
    if gpus is None:
        gpus = int(_has_gpus(resources.partition))
    # srun takes the processors from its own options, not from sbatch's.
    processors = resources.cpus_per_task
    settings = dict(
        job_name=name,
        partition=resources.partition,
        time=resources.minutes,
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=processors,
        gpus_per_node=gpus or None,
        srun_args=[f'--cpus-per-task={processors}'] if processors else None,
        array_parallelism=resources.max_parallel or 256,
        signal_delay_s=SIGNAL_DELAY_S,
        stderr_to_stdout=True,
        setup=[f'export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}'],
        additional_parameters={'requeue': True, **resources.slurm},
    )
    executor.update_parameters(**{key: v for key, v in settings.items() if v is not None})
    return executor


def _has_gpus(partition: str | None) -> bool:
    """Whether nodes of a partition have any; believed where SLURM cannot be asked."""
    if shutil.which('sinfo') is None or partition is None:
        return True
    command = ['sinfo', '-h', '-p', partition, '-o', '%G']
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return found.returncode != 0 or 'gpu' in found.stdout


def _reason(error: Exception) -> str:
    """What sbatch said, which submitit hands on with much around it."""
    lines = [line.strip() for line in str(error).splitlines() if 'error:' in line]
    return '; '.join(line.partition('error:')[2].strip() for line in lines) or str(error)
