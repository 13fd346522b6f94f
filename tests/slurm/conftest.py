"""A real SLURM of one node, started for these tests alone; skipped where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name('start_slurm.sh')
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what slurmctld said where a test fails."""
    report = yield
    cluster = getattr(item, 'funcargs', {}).get('cluster')
    if report.failed and cluster is not None:
        report.sections.append(('end of slurmctld.log', cluster.log_end()))
    return report


@pytest.fixture(scope='session')
def cluster() -> Iterator[Cluster]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f'{", ".join(missing)} not installed: apt-get install slurm-wlm munge')
    if os.getuid() != 0:
        pytest.skip('starting SLURM needs root')
    folder = Path(tempfile.mkdtemp(prefix='sta-slurm-'))
    folder.chmod(0o755)  # munged runs as a user of its own
    started = subprocess.run([SCRIPT, folder], capture_output=True, text=True, timeout=120)
    if started.returncode:
        subprocess.run([SCRIPT, '--stop', folder])
        pytest.skip(f'SLURM does not start here: {started.stderr.strip()[-500:]}')
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(('SLURM_', 'PYTEST_'))},
        'SLURM_CONF': str(folder / 'slurm.conf'),
        'PYTHONPATH': str(ROOT),
        'PYTHON': sys.executable,
        # One thread each: sums in the same order, whatever the node offers.
        'OMP_NUM_THREADS': '1',
        'MKL_NUM_THREADS': '1',
    }
    yield Cluster(ROOT, environment, folder / 'slurmctld.log')
    subprocess.run(['scancel', '-u', 'root'], env=environment, timeout=60)
    subprocess.run([SCRIPT, '--stop', folder], timeout=60)
    shutil.rmtree(folder, ignore_errors=True)
