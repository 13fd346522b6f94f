"""Time and peak memory of a command with all its children."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS_BETWEEN_LOOKS = 0.1


class Usage(NamedTuple):
    """What a command took.

    Attributes:
        wall_s: seconds from its start to its end.
        peak_mb: most memory (10^6 bytes) of the command and its children together at one time, what
            they share counted once; 0 where the system does not say (it takes Linux' smaps_rollup).
        output: what it printed.
    """

    wall_s: float
    peak_mb: float
    output: str


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with what it printed last.
    """
    start = time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile('w+') as file:  # a pipe that nobody reads would fill up
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_bytes, _family(process.pid))))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        wall_s = time.perf_counter() - start
        file.seek(0)
        output = file.read()
    if process.returncode != 0:
        last = output.strip().splitlines()[-1:] or ['it printed nothing']
        raise RuntimeError(f'{" ".join(command)} failed with {process.returncode}: {last[0]}')
    return Usage(wall_s, peak / 1e6, output)


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        tasks = Path(f'/proc/{pid}/task').iterdir()
        children = [int(c) for task in tasks for c in (task / 'children').read_text().split()]
    except OSError:
        return []
    return [pid, *(other for child in children for other in _family(child))]


def _proportional_bytes(pid: int) -> int:
    """Own memory, and of shared memory this process's share."""
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith('Pss:')), 0)
