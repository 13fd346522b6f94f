"""What a measurement was made on: hardware, clocks, load, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from sta.installed import distribution_version

LIBRARIES = ('torch', 'mmaction2', 'mmengine', 'numpy', 'decord', 'av')
_GPU_FACTS = ('name', 'driver_version', 'clocks.sm', 'clocks.max.sm', 'clocks.mem', 'power.limit')


def describe_machine() -> dict[str, Any]:
    """Hardware and versions as values of JSON; None where the system does not say."""
    return {
        'system': platform.platform(),
        'cpu': cpu_name(),
        'cores': os.cpu_count(),
        'torch_threads': torch.get_num_threads(),
        'memory_gb': _memory_gb(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'cuda': torch.version.cuda,
        'cudnn': torch.backends.cudnn.version(),
        'float32_matmul_precision': torch.get_float32_matmul_precision(),
        'python': platform.python_version(),
        'versions': {name: distribution_version(name) for name in LIBRARIES},
    }


def describe_state() -> dict[str, Any]:
    """What changes while one measures: clocks in MHz, and how many processes want a core."""
    megahertz = [float(value) for value in _of_cpuinfo('cpu MHz')]
    return {
        'cpu_mhz': [min(megahertz), max(megahertz)] if megahertz else None,
        'load_1_min': os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
        'gpu': _gpu_facts() if torch.cuda.is_available() else None,
    }


def cpu_name() -> str:
    """As the system calls it; the architecture where it does not say."""
    return next(iter(_of_cpuinfo('model name')), '') or platform.processor() or platform.machine()


def _of_cpuinfo(key: str) -> list[str]:
    """One value per core; none where there is no /proc."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return []
    return [line.partition(':')[2].strip() for line in lines if line.startswith(key)]


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _gpu_facts() -> dict[str, str] | None:
    """What nvidia-smi says of the device torch uses."""
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    which = f'--id=GPU-{device.uuid}' if hasattr(device, 'uuid') else '--id=0'
    command = ['nvidia-smi', which, f'--query-gpu={",".join(_GPU_FACTS)}', '--format=csv,noheader']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(_GPU_FACTS, map(str.strip, done.stdout.strip().split(',')), strict=False))
