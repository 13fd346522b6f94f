"""The commands that repair an environment, each one line for a POSIX shell.

A command that fails leaves the environment as it was. pip fetches all that one `pip install` names
before it removes anything, so one step needs no care; where there must be several, the first only
fetches, and the others take what it fetched.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from .environment import distribution_version, module_folder, release, satisfies

TORCH = 'torch==2.13.0'  # a range would fetch the newest CUDA build, several GB
MMCV_RANGE = '>=2.0,<2.2'  # mmaction2 1.2.0 asserts 2.0.0rc4 <= mmcv < 2.2.0 at import
HOST_REQUIREMENTS = {
    'torch': TORCH,
    'mmengine': 'mmengine>=0.10.7,<0.11',
    'mmcv': f'mmcv-lite{MMCV_RANGE}',
    'mmaction': 'mmaction2==1.2.0',
}
BRING_OPENCV = (
    'mmengine',
    'mmcv-lite',
    'mmaction2',
)  # mmengine one of USUAL_WHEELS, mmaction2 both
NUMPY = 'numpy>=1.24'
NUMPY_1 = 'numpy>=1.24,<2'
TORCH_FOR_NUMPY_2 = '>=2.3'
OPENCV_FOR_NUMPY_2 = '>=4.10.0.84'

# The wheels of OpenCV fill one folder. Their newest releases differ, so versions are chosen from
# those of which all four wheels exist; all but the last few work with numpy 1.
USUAL_WHEELS = ('opencv-python', 'opencv-contrib-python')
HEADLESS = 'opencv-contrib-python-headless'
OPENCV_WHEELS = (*USUAL_WHEELS, 'opencv-python-headless', HEADLESS)
OPENCV_NEWEST = '5.0.0.93'  # tested; needs numpy 2
OPENCV_NUMPY_1 = '4.11.0.86'  # the newest for numpy 1, at home with numpy 2 as well
OPENCV_VERSIONS = (
    *('4.8.1.78', '4.9.0.80', '4.10.0.84', OPENCV_NUMPY_1),
    *('4.12.0.88', '4.13.0.92', '4.14.0.94', OPENCV_NEWEST),
)

VENV = 'sta-venv'  # made in the current folder where pip may not touch the interpreter's own


def python_command() -> str:
    """This interpreter as a shell wants it, whatever its path holds."""
    return shlex.quote(sys.executable or 'python3')


def is_managed() -> bool:
    """Whether the system owns this Python and pip refuses to change it (PEP 668)."""
    in_venv = sys.prefix != sys.base_prefix
    marker = Path(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED')
    return not in_venv and marker.exists()


def pip_command(*steps: str) -> str:
    """`python -m pip` with each of the steps in turn, and before them what gets pip where it lacks.

    A Python that belongs to the system is left alone: the steps then work in a virtual environment
    that sees its packages.
    """
    python, before = python_command(), []
    if is_managed():
        before = [f'{python} -m venv --system-site-packages {VENV}']
        python = f'{VENV}/bin/python'
    elif module_folder('pip') is None:
        before = [f'{python} -m ensurepip']
    return ' && '.join([*before, *(f'{python} -m pip {step}' for step in steps)])


def install(*requirements: str) -> str:
    """Bring what is absent or of a wrong version, and nothing that would break the rest.

    mmengine and mmaction2 ask for a wheel of OpenCV each and leave the version to pip, which takes
    two different ones; so both are named. What is built for numpy 1 keeps numpy 1.
    """
    wanted = list(dict.fromkeys(requirements))
    pins: tuple[str, ...] = ()
    if any(_name(requirement) in BRING_OPENCV for requirement in wanted):
        pins = opencv_requirements()
        wanted += [pin for pin in pins if pin not in wanted]
    if _keeps_numpy_1() and _name(NUMPY) not in map(_name, wanted):
        wanted.append(NUMPY_1)
    step = f'install {_quoted(wanted)}'
    return pip_command(*(_then_whole(step, pins) if opencv_wheels() else [step]))


def opencv_requirements() -> tuple[str, ...]:
    """Both usual wheels, and headless ones that are installed, in one version; none where it is so.

    mmengine and mmaction2 require the usual ones whatever else fills the folder.
    """
    wheels = opencv_wheels()
    if len(set(wheels.values())) == 1 and all(wheel in wheels for wheel in USUAL_WHEELS):
        return ()
    names = dict.fromkeys((*USUAL_WHEELS, *wheels))
    return tuple(f'{name}=={opencv_version()}' for name in names)


def numpy_requirement() -> str:
    """The numpy that fits what is installed."""
    return NUMPY_1 if _keeps_numpy_1() else NUMPY


def reinstall(*distributions: str) -> str:
    """Write the files of installed distributions anew, in the version they have."""
    return pip_command(f'{_FORCED} {_quoted([_pinned(name) for name in distributions])}')


def fit_to_numpy(requirement: str) -> str:
    """Change a package that was built for another numpy; numpy stays."""
    return pip_command(f'install --upgrade {_quoted([requirement, _pinned("numpy")])}')


def return_to_numpy_1() -> str:
    """Go back to numpy 1, with everything installed that asks for numpy 2."""
    wheels = opencv_wheels()
    others = sorted(name for name in _users_of_numpy_2() if name not in wheels)
    pins = [f'{wheel}=={OPENCV_NUMPY_1}' for wheel in wheels]
    return pip_command(*_then_whole(f'install {_quoted([NUMPY_1, *others, *pins])}', pins))


def replace_distributions(requirement: str, *installed: str) -> str:
    """Put one distribution in the place of others that fill the same folder.

    Removing them afterwards would take files of the new one along, so this fetches first.
    """
    folder = shlex.quote(str(_wheel_folder()))
    return pip_command(
        f'wheel --no-deps -w {folder} {_quoted([requirement])}',
        f'uninstall -y {" ".join(sorted(installed))}',
        f'install --no-index --find-links {folder} --no-deps {_quoted([requirement])}',
    )


def repair_opencv(*, headless: bool = False, rebuild: bool = False) -> str:
    """Give all wheels of OpenCV one version and write their files anew.

    Nothing is uninstalled: the wheel that is installed last fills the folder, and the metadata of
    the others keeps mmengine and mmaction2 content.

    Args:
        headless: end with a wheel that needs no libGL.so.1 and no glib.
        rebuild: the present version does not fit numpy.
    """
    wheels = opencv_wheels()
    versions = set(wheels.values())
    lacking = headless and not any('headless' in wheel for wheel in wheels)
    names = [*wheels, *([HEADLESS] if lacking else [])]
    keep = len(versions) == 1 and not rebuild
    version = min(versions) if keep else opencv_version()
    if lacking and version not in OPENCV_VERSIONS:
        version, keep = opencv_version(), False
    if keep and lacking:
        names = [HEADLESS]  # over the others, whose files are of its version
    pins = [f'{name}=={version}' for name in names]
    step = f'{_FORCED} {_quoted(pins)}'
    once = len(pins) == 1 or (keep and not any('headless' in name for name in names))
    return pip_command(*([step] if once else _then_whole(step, pins)))


def opencv_wheels() -> dict[str, str]:
    """Installed wheels of OpenCV and their versions."""
    versions = {wheel: distribution_version(wheel) for wheel in OPENCV_WHEELS}
    return {wheel: version for wheel, version in versions.items() if version}


def opencv_version() -> str:
    """A version that exists of every wheel and fits the numpy that is installed."""
    return OPENCV_NUMPY_1 if _keeps_numpy_1() or torch_needs_numpy_1() else OPENCV_NEWEST


_FORCED = 'install --force-reinstall --no-deps'


def _keeps_numpy_1() -> bool:
    """Whether numpy 1 is what the other packages live with."""
    numpy = distribution_version('numpy')
    if numpy is not None:
        return release(numpy)[:1] == (1,)
    wheels = opencv_wheels().values()
    return torch_needs_numpy_1() or any(not satisfies(v, OPENCV_FOR_NUMPY_2) for v in wheels)


def torch_needs_numpy_1() -> bool:
    """Whether the installed torch was built before numpy 2."""
    torch = distribution_version('torch')
    return torch is not None and not satisfies(torch, TORCH_FOR_NUMPY_2)


def _usual_and_headless(pins: Sequence[str]) -> tuple[list[str], list[str]]:
    usual = [pin for pin in pins if 'headless' not in pin]
    return usual, [pin for pin in pins if pin not in usual]


def _then_whole(step: str, pins: Sequence[str]) -> list[str]:
    """A step that changes versions of OpenCV's wheels, and what makes their folder whole after it.

    The removal of an old wheel takes along files that a new one has already brought, so each is
    written once more now that all are of one version; headless ones last, since the last fills the
    folder.
    """
    if not pins:
        return [step]
    folder = shlex.quote(str(_wheel_folder()))
    local = f'{_FORCED} --no-index --find-links {folder}'
    again = [f'{local} {_quoted(group)}' for group in _usual_and_headless(pins) if group]
    return [f'wheel --no-deps -w {folder} {_quoted(pins)}', step, *again]


def _users_of_numpy_2() -> set[str]:
    """Installed distributions whose metadata refuse numpy 1."""
    pattern = re.compile(r'numpy\s*\(?[^;]*>=?\s*2', re.IGNORECASE)
    users = set()
    for distribution in importlib.metadata.distributions():
        for line in distribution.requires or []:
            if pattern.match(line) and 'extra' not in line.partition(';')[2]:
                users.add(distribution.metadata['Name'])
    return {name for name in users if name}


def _pinned(name: str) -> str:
    """`name==version` as installed, without the local part that only some indexes have."""
    version = distribution_version(name)
    return f'{name}=={version.partition("+")[0]}' if version else name


def _name(requirement: str) -> str:
    return re.split(r'[^\w.-]', requirement, maxsplit=1)[0]


def _quoted(requirements: Sequence[str]) -> str:
    return ' '.join(f'"{requirement}"' for requirement in requirements)


def _wheel_folder() -> Path:
    """Where wheels wait: in the environment, which is nobody else's to fill, or in this folder."""
    if is_managed():
        return Path(VENV, 'wheels')
    return Path(sys.prefix if os.access(sys.prefix, os.W_OK) else '.', 'sta-wheels')
