"""What a result was made with: what is installed, the commit, the machine.

What is installed is read from files and metadata, since importing may fail; versions are compared
without the package ``packaging``, since the doctor also runs where nothing is installed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ('torch', 'mmaction2', 'mmengine', 'numpy', 'decord', 'av')
_GPU_FACTS = ('name', 'driver_version', 'clocks.sm', 'clocks.max.sm', 'clocks.mem', 'power.limit')


def accept_any_text() -> None:
    """Let standard output and error show what their encoding lacks as \\xf6 instead of failing.

    Under LC_ALL=C or PYTHONIOENCODING=ascii, and for names that are not UTF-8 under any locale.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def module_folder(module: str) -> Path | None:
    """Folder that holds a top-level package or module; None when it is absent.

    Asks the finders directly: importlib.util.find_spec would answer from sys.modules, where
    sta.compat puts stand-ins.
    """
    for finder in sys.meta_path:
        find_spec = getattr(finder, 'find_spec', None)
        try:
            spec = find_spec(module, None) if find_spec else None
        except ModuleNotFoundError:
            return None
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent
    return None


def distribution_version(distribution: str) -> str | None:
    """Version of an installed distribution such as '2.13.0+cpu'; None when it is absent."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def distribution_folder(name: str) -> str:
    """Folder of the module that a distribution (mmaction2) or a module (mmaction) name stands for.

    Raises:
        ModuleNotFoundError: neither is installed.
    """
    modules = [name]
    try:
        modules += (importlib.metadata.distribution(name).read_text('top_level.txt') or '').split()
    except importlib.metadata.PackageNotFoundError:
        pass
    for module in modules:
        folder = module_folder(module)
        if folder is not None:
            return str(folder)
    raise ModuleNotFoundError(f'no installed package or distribution is called {name!r}')


def release(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: '2.13.0+cpu' -> (2, 13, 0), '2.0.0rc4' -> (2, 0, 0)."""
    matched = re.match(r'\d+(?:\.\d+)*', version)
    return tuple(int(part) for part in matched.group().split('.')) if matched else ()


def satisfies(version: str, specifiers: str) -> bool:
    """Whether a version lies in a range such as '>=2.0,<2.2'; pre-releases count as their release.

    Knows >=, <, <= and ==, which is all that requirements.txt uses.

    Raises:
        ValueError: another operator.
    """
    found = release(version)
    for specifier in filter(None, (part.strip() for part in specifiers.split(','))):
        matched = re.fullmatch(r'(>=|<=|<|==)\s*(\S+)', specifier)
        if matched is None:
            raise ValueError(f'specifier {specifier!r} is none of >=, <=, <, ==')
        operator, limit = matched.group(1), release(matched.group(2))
        width = max(len(found), len(limit))
        left, right = _padded(found, width), _padded(limit, width)
        holds = {'>=': left >= right, '<=': left <= right, '<': left < right, '==': left == right}
        if not holds[operator]:
            return False
    return True


def _padded(parts: tuple[int, ...], width: int) -> tuple[int, ...]:
    return parts + (0,) * (width - len(parts))


def commit_of(root: Path = ROOT) -> str | None:
    """The commit of a checkout, 'with changes' where tracked files differ from it.

    None where the folder is no checkout, as where the package was installed, or git is absent.
    """
    if not (root / '.git').exists():  # else git would find that of a folder above
        return None
    commit = _git(root, 'rev-parse', 'HEAD')
    if not commit:
        return None
    changes = _git(root, 'status', '--porcelain', '--untracked-files=no')
    return f'{commit} with changes' if changes else commit


def _git(root: Path, *words: str) -> str | None:
    command = ['git', '-c', f'safe.directory={root}', '-C', str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe_machine() -> dict[str, Any]:
    """Hardware and versions as values of JSON; None where the system does not say."""
    import torch

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
    import torch

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
    import torch

    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    which = f'--id=GPU-{device.uuid}' if hasattr(device, 'uuid') else '--id=0'
    command = ['nvidia-smi', which, f'--query-gpu={",".join(_GPU_FACTS)}', '--format=csv,noheader']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(_GPU_FACTS, map(str.strip, done.stdout.strip().split(',')), strict=False))
