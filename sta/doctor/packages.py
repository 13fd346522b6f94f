"""Are the packages there, in the right version, and do they import?"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sta.compat import opencv_mend
from sta.installed import distribution_version, release, satisfies

from .finding import Finding, State, first_line

ABSENT = 'absent'
PYTHON_RANGE = '>=3.10'
TESTED_PYTHON = '<3.13'
HOST = ('torch', 'opencv', 'mmengine', 'mmcv-lite', 'mmaction2')  # each needs those before it
PIP_INSTALL = f'{sys.executable} -m pip install '  # a name follows
OPENCV_WHEELS = (
    'opencv-python',
    'opencv-contrib-python',
    'opencv-python-headless',
    'opencv-contrib-python-headless',
)


@dataclass(frozen=True)
class Package:
    """A package that must import.

    Attributes:
        distribution: name pip knows, as in requirements.txt.
        module: name that Python imports.
        required: range of versions as in requirements.txt, empty for any.
        alternatives: other distributions of the same module.
        install: what to ask pip for, default the distribution in its range.
        needs: subjects whose failure would explain its own.
    """

    distribution: str
    module: str
    required: str = ''
    alternatives: tuple[str, ...] = ()
    install: str = ''
    needs: tuple[str, ...] = ()


PACKAGES = (
    # a range would fetch the newest CUDA build, several GB
    Package('torch', 'torch', '>=2.1', install='torch==2.13.0'),
    Package('numpy', 'numpy', '>=1.24'),
    Package('mmengine', 'mmengine', '>=0.10.7,<0.11', ('mmengine-lite',)),
    Package('mmcv-lite', 'mmcv', '>=2.0,<2.2', ('mmcv',), needs=HOST[:3]),
    Package('mmaction2', 'mmaction', '==1.2.0', needs=HOST[:4]),
    Package('decord', 'decord', '>=0.6'),
    Package('av', 'av', '>=11'),
    Package('einops', 'einops', '>=0.6'),
    Package('safetensors', 'safetensors', '>=0.4'),
    Package('rich', 'rich', '>=13'),
    Package('matplotlib', 'matplotlib', '>=3.7'),
    Package('Jinja2', 'jinja2', '>=3.0'),
    Package('scipy', 'scipy', '>=1.11'),
    Package('submitit', 'submitit', '>=1.5,<1.6'),
    Package('PyYAML', 'yaml', '>=6.0'),
    Package('optuna', 'optuna', '>=4'),
    Package('importlib_metadata', 'importlib_metadata'),
)


def check_packages() -> Iterator[Finding]:
    """Look at OpenCV's wheels and at every package."""
    broken: set[str] = set()
    yield (finding := check_opencv())
    for package in PACKAGES:
        if finding.state is State.BROKEN:
            broken.add(finding.subject)
        finding = check_package(package)
        culprits = sorted(broken & set(package.needs))
        if culprits and finding.state is State.BROKEN and finding.found != ABSENT:
            reason = f'needs {", ".join(culprits)}'
            finding = replace(finding, found=reason, state=State.SKIPPED, mend='')
        yield finding


def check_python(version: str) -> Finding:
    """Judge the version of the interpreter."""
    if not satisfies(version, PYTHON_RANGE):
        mend = 'make clean && make install PYTHON=python3.11'
        return Finding('python', version, PYTHON_RANGE, State.BROKEN, mend)
    if not satisfies(version, TESTED_PYTHON):
        return Finding('python', f'{version} (not tested)', PYTHON_RANGE, State.NOTE)
    return Finding('python', version, PYTHON_RANGE, State.OK)


def check_package(package: Package) -> Finding:
    """Judge version and import of one package; never raises."""
    name, required = package.distribution, package.required or 'any'
    found = _installed_name_and_version((name, *package.alternatives))
    try:
        importlib.import_module(package.module)
    except Exception as error:  # whatever a foreign package raises is a finding, not our end
        if package.module == 'importlib_metadata':  # sta.compat puts the standard one in its place
            return Finding(name, ABSENT, required, State.HEALED)
        reason = first_line(error) if found else ABSENT
        mend = _import_mend(package, found is not None, error)
        return Finding(name, reason, required, State.BROKEN, mend)
    if found is None:
        return Finding(name, 'imports, version unknown', required, State.NOTE)
    installed_name, version = found
    text = version if installed_name == name else f'{version} ({installed_name})'
    if not satisfies(version, package.required):
        mend = f'{PIP_INSTALL}"{package.install or name + package.required}"'
        if installed_name != name:
            mend = f'{sys.executable} -m pip uninstall -y {installed_name} && {mend}'
        return Finding(name, text, required, State.BROKEN, mend)
    return Finding(name, text, required, State.OK)


def check_opencv() -> Finding:
    """Judge OpenCV: its wheels share one folder, and its usual ones need a desktop's libraries."""
    versions = {wheel: distribution_version(wheel) for wheel in OPENCV_WHEELS}
    versions = {wheel: version for wheel, version in versions.items() if version}
    text = ', '.join(f'{wheel} {version}' for wheel, version in versions.items()) or ABSENT
    required = 'imports; wheels of one version'
    try:
        importlib.import_module('cv2')
    except Exception as error:
        found = first_line(error) if versions else ABSENT
        mend = opencv_mend() if versions else f'{PIP_INSTALL}"opencv-contrib-python"'
        return Finding('opencv', found, required, State.BROKEN, mend)
    if len(set(versions.values())) > 1:
        newest = max(versions.values(), key=release)
        same = ' '.join(f'{wheel}=={newest}' for wheel in versions)
        pip = f'{sys.executable} -m pip'
        mend = f'{pip} uninstall -y {" ".join(versions)} && {pip} install --no-deps {same}'
        return Finding('opencv', text, required, State.BROKEN, mend)
    return Finding('opencv', text, required, State.OK)


def _installed_name_and_version(names: tuple[str, ...]) -> tuple[str, str] | None:
    for name in names:
        version = distribution_version(name)
        if version is not None:
            return name, version
    return None


def _import_mend(package: Package, installed: bool, error: Exception) -> str:
    install = f'{PIP_INSTALL}"{package.install or package.distribution + package.required}"'
    if 'libGL' in str(error) or 'libgthread' in str(error):
        return opencv_mend()
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if not installed or (missing and missing.split('.')[0] != package.module):
        return install  # which brings what the package itself misses
    # Its files are damaged. With options before the name it stays a command of its own.
    return install.replace('-m pip install', '-m pip install --force-reinstall --no-deps')
