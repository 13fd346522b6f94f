"""Commands on the cluster of the tests, and waiting for what they lead to."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sta.sweeps.job import count_stored


@dataclass(frozen=True)
class Cluster:
    """A running SLURM.

    Attributes:
        root: of the repository, in which commands run.
        environment: that leads to it.
        log: of slurmctld.
    """

    root: Path
    environment: Mapping[str, str]
    log: Path

    def run(self, *words: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.root,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def tool(self, name: str, *words: object) -> subprocess.CompletedProcess[str]:
        """A command line of tools/."""
        return self.run(sys.executable, f'tools/{name}.py', *words)

    def start(self, name: str, *words: object) -> subprocess.Popen[str]:
        """A command line of tools/ that is not waited for; its standard output is kept."""
        return subprocess.Popen(
            [sys.executable, f'tools/{name}.py', *map(str, words)],
            cwd=self.root,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            text=True,
        )

    def queue(self) -> dict[str, str]:
        """State by job; what squeue says instead, where it gets no answer."""
        done = self.run('squeue', '-h', '-r', '-o', '%i %T')
        if done.returncode:
            return {'squeue': done.stderr}
        return dict(line.split() for line in done.stdout.splitlines())

    def start_now(self, job: str) -> None:
        """SLURM lets a requeued job wait for two minutes; tests, until a second has passed.

        What slurmd gets of a job that was ended in the same second it takes for revoked, and
        slurmctld kills the job: 'non-startable batch job: Job credential revoked'.
        """
        self.wait(lambda: self.queue().get(job) == 'PENDING', f'{job} is not requeued')
        time.sleep(2)
        self.run('scontrol', 'update', f'JobId={job}', 'StartTime=now')

    def log_end(self, lines: int = 60) -> str:
        """What slurmctld said last."""
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-lines:])

    def wait(self, until: Callable[[], object], what: str, timeout: float = 180) -> None:
        """Until something holds."""
        deadline = time.monotonic() + timeout
        while not until():
            assert time.monotonic() < deadline, f'{what}: {self.queue()}'
            time.sleep(0.1)

    def wait_mid_run(self, folder: Path, job: str) -> None:
        """Until a job runs and has scored something new, but not all."""
        before = count_stored(folder)
        self.wait(
            lambda: self.queue().get(job) == 'RUNNING' and count_stored(folder) > before,
            f'{job} scores nothing',
        )

    def wait_empty(self, timeout: float = 300) -> None:
        """Until nothing is queued, and nothing is a second later."""

        def empty() -> bool:
            return not self.queue() and time.sleep(1) is None and not self.queue()

        self.wait(empty, 'jobs do not end', timeout)


def status(folder: Path) -> dict:
    """What the job of an element left."""
    return json.loads((folder / 'status.json').read_text())
