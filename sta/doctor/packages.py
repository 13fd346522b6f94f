"""Are the packages there, in the right version, and do they import?"""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from sta.compat import blames_numpy, first_line, import_whole, numpy_fault, opencv_fault
from sta.environment import distribution_version, module_folder, release, satisfies
from sta.repair import (
    OPENCV_WHEELS,
    TORCH,
    VENV,
    fit_to_numpy,
    install,
    is_managed,
    numpy_requirement,
    opencv_requirements,
    opencv_wheels,
    reinstall,
    repair_opencv,
    replace_distributions,
)

ROOT = Path(__file__).parents[2]
PYTHON_RANGE = '>=3.10'
TESTED_PYTHONS = ('3.11',)
INSTALLED_PYTHONS = ('3.10', '3.12')  # everything but torch was installed and imported
HOST = ('numpy', 'torch', 'opencv', 'mmengine', 'mmcv-lite', 'mmaction2')
OPENMMLAB = ('mmengine', 'mmcv', 'mmaction')
EVERYTHING = 'everything'
EVALUATION = 'configs, evaluation, training'
SMALL_SHARED_MEMORY = 1 << 30  # bytes; Docker gives 64 MB


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
        needed_for: what does not work without it.
        part: a module inside whose import shows whether it fits numpy.
    """

    distribution: str
    module: str
    required: str = ''
    alternatives: tuple[str, ...] = ()
    install: str = ''
    needs: tuple[str, ...] = ()
    needed_for: str = EVERYTHING
    part: str = ''


PACKAGES = (
    Package('numpy', 'numpy', '>=1.24', needed_for='all but sta.apply'),
    Package('torch', 'torch', '>=2.1', install=TORCH),
    Package(
        'mmengine',
        'mmengine',
        '>=0.10.7,<0.11',
        ('mmengine-lite',),
        needs=HOST[:3],
        needed_for=EVALUATION,
    ),
    Package('mmcv-lite', 'mmcv', '>=2.0,<2.2', ('mmcv',), needs=HOST[:4], needed_for=EVALUATION),
    Package('mmaction2', 'mmaction', '==1.2.0', needs=HOST[:5], needed_for=EVALUATION),
    Package('decord', 'decord', '>=0.6', needs=HOST[:1], needed_for='videos'),
    Package('av', 'av', '>=11', needs=HOST[:1], needed_for='videos'),
    Package('einops', 'einops', '>=0.6'),
    Package('safetensors', 'safetensors', '>=0.4', needed_for='checkpoints'),
    Package('rich', 'rich', '>=13', needed_for='tables'),
    Package(
        'matplotlib',
        'matplotlib',
        '>=3.7',
        needs=HOST[:1],
        needed_for='plots',
        part='matplotlib.path',
    ),
    Package('Jinja2', 'jinja2', '>=3.0', needed_for='report.html'),
    Package(
        'scipy',
        'scipy',
        '>=1.11',
        needs=HOST[:1],
        needed_for='intervals and tests',
        part='scipy.special',
    ),
    Package('submitit', 'submitit', '>=1.5,<1.6', needed_for='sweeps'),
    Package('PyYAML', 'yaml', '>=6.0', needed_for='sweeps'),
    Package('optuna', 'optuna', '>=4', needs=HOST[:1], needed_for='searches'),
    Package('importlib_metadata', 'importlib_metadata', needed_for=EVALUATION),
)


def package_checks() -> Iterator[Check]:
    """A check of every package, those first that explain the failures of others."""
    for package in PACKAGES:
        yield Check(package.distribution, functools.partial(_checked, package))
        if package.distribution == 'torch':
            yield Check('opencv', lambda unusable: [check_opencv(unusable)])


def _checked(package: Package, unusable: set[str]) -> list[Finding]:
    return [check_package(package, unusable)]


def check_python(version: str) -> Finding:
    """Judge the version of the interpreter, and say which ones were tested."""
    if not satisfies(version, PYTHON_RANGE):
        # A second environment beside: the first goes only when its owner wants it to.
        make = f'make -C "{ROOT}" install PYTHON=python3.11 VENV=.venv-3.11'
        mend = make if (ROOT / 'Makefile').exists() else ''
        return Finding('python', version, PYTHON_RANGE, State.BROKEN, mend)
    minor = '.'.join(version.split('.')[:2])
    if minor in TESTED_PYTHONS:
        return Finding('python', version, PYTHON_RANGE, State.OK)
    tested, installed = ', '.join(TESTED_PYTHONS), ', '.join(INSTALLED_PYTHONS)
    if minor in INSTALLED_PYTHONS:
        found = f'{version}: installed and imported; tested: {tested}'
        return Finding('python', found, PYTHON_RANGE, State.OK)
    found = f'{version}: not tested (tested: {tested}; installed and imported: {installed})'
    return Finding('python', found, PYTHON_RANGE, State.NOTE)


def check_pip() -> Finding:
    """Say how the commands below install where that is not plain."""
    version = distribution_version('pip')
    if is_managed():
        found = 'the system owns this Python and pip refuses to change it (PEP 668)'
        required = f'commands make {VENV}; afterwards run {VENV}/bin/python'
        return Finding('pip', found, required, State.NOTE)
    if module_folder('pip') is None:
        if module_folder('ensurepip') is None:
            required = 'for every command below; Debian, Ubuntu: apt-get install python3-pip'
            return Finding('pip', f'{ABSENT}, and ensurepip too', required, State.NOTE)
        return Finding('pip', ABSENT, 'commands below begin with ensurepip', State.NOTE)
    if Path(sys.prefix, 'conda-meta').exists():
        found = f'{version} in a conda environment'
        required = "commands below are pip's; conda does not see them"
        return Finding('pip', found, required, State.NOTE)
    return Finding('pip', version or 'imports, version unknown', 'installs', State.OK)


def check_shared_memory(folder: str = '/dev/shm') -> Iterator[Finding]:
    """Note a /dev/shm as small as Docker's."""
    if Path(folder).is_dir():
        size = shutil.disk_usage(folder).total
        small = size < SMALL_SHARED_MEMORY
        found = f'{size / 1e6:,.0f} MB in {folder}'
        required = 'batches of workers; docker run --shm-size=8g' if small else 'batches of workers'
        yield Finding('shared memory', found, required, State.NOTE if small else State.OK)


def check_work_dirs() -> Finding:
    """Try to write where results go by default."""
    folder = Path('work_dirs').absolute()
    present = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=present):
            return Finding('work_dirs', str(folder), 'can be written', State.OK)
    except OSError as error:
        found = f'{present}: {error.strerror or error}'
        return Finding('work_dirs', found, 'can be written, or --work-dir', State.NOTE)


def check_package(package: Package, unusable: set[str] | None = None) -> Finding:
    """Judge version and import of one package; never raises."""
    name, required = package.distribution, package.required or 'any'
    names = (name, *package.alternatives)
    installed = {n: version for n in names if (version := distribution_version(n))}
    try:
        import_whole(package.module)
        if package.part:
            import_whole(package.part)
    except (Exception, SystemExit) as error:  # whatever a foreign package raises is a finding
        return _failed_import(package, installed, error, unusable or set())
    if not installed:
        return Finding(name, 'imports, version unknown', required, State.NOTE)
    text = ', '.join(v if n == name else f'{v} ({n})' for n, v in installed.items())
    outside = [n for n, version in installed.items() if not satisfies(version, package.required)]
    if not outside and len(set(installed.values())) == 1:
        return Finding(name, text, required, State.OK)
    return _wrong_version(package, installed, text)


def check_opencv(unusable: set[str] | None = None) -> Finding:
    """Judge OpenCV: its wheels share one folder, and its usual ones need a desktop's libraries."""
    wheels = opencv_wheels()
    text = ', '.join(f'{wheel} {version}' for wheel, version in wheels.items())
    required = 'imports; wheels of one version'
    fault, mend = opencv_fault()
    if fault and not wheels and module_folder('cv2') is None:
        found, state = f'{ABSENT}: needed for {EVALUATION}, pictures', _state_of_absence()
        return Finding.to_install('opencv', found, required, state, *opencv_requirements())
    if fault and 'numpy' in (unusable or set()):
        return Finding('opencv', 'needs numpy', required, State.SKIPPED)
    if fault:
        return Finding('opencv', fault, required, State.BROKEN, mend)
    if not wheels:
        return Finding('opencv', 'imports, version unknown', required, State.OK)
    imported = import_whole('cv2').__version__
    if len(set(wheels.values())) > 1:
        return Finding('opencv', text, required, State.BROKEN, repair_opencv())
    if release(imported)[:3] != release(min(wheels.values()))[:3]:
        found = f'{text}, but cv2 is {imported}'
        return Finding('opencv', found, required, State.BROKEN, repair_opencv())
    missing = sorted(path for wheel in wheels for path in _missing_files(wheel))
    if missing:
        found = f'{text}, but {len(missing)} files are gone, such as {missing[0]}'
        return Finding('opencv', found, required, State.BROKEN, repair_opencv())
    return Finding('opencv', text, required, State.OK)


def mend_of(error: BaseException, distribution: str = '') -> str:
    """The command that writes anew what an error came from: a package below, or the one named.

    Empty where no installed package is at fault.
    """
    culprit = _owner(error)
    if culprit in OPENCV_WHEELS:
        return repair_opencv()
    return reinstall(culprit or distribution) if culprit or distribution else ''


def absent_package(error: BaseException) -> str:
    """The subject whose module an error misses; empty where it misses none of PACKAGES."""
    missing = error.name or '' if isinstance(error, ModuleNotFoundError) else ''
    names = {package.module: package.distribution for package in PACKAGES}
    return names.get(missing.partition('.')[0], '')


def _failed_import(
    package: Package, installed: dict[str, str], error: BaseException, unusable: set[str]
) -> Finding:
    name, required = package.distribution, package.required or 'any'
    if not installed and package.module == 'importlib_metadata':
        return Finding(name, ABSENT, required, State.HEALED)  # sta.compat puts in the standard one
    if not installed:
        found = f'{ABSENT}: needed for {package.needed_for}'
        state = State.BROKEN if package.needed_for == EVERYTHING else _state_of_absence()
        return Finding.to_install(name, found, required, state, _requirement(package))
    reason, [present, *_] = first_line(error), installed
    if not satisfies(installed[present], package.required):
        text = f'{installed[present]}, and {reason}'
        return _wrong_version(package, installed, text)
    culprits = sorted(unusable & set(package.needs))
    if culprits:
        return Finding(name, f'needs {", ".join(culprits)}', required, State.SKIPPED)
    if package.module == 'numpy':
        return Finding(name, reason, required, State.BROKEN, numpy_fault()[1])
    if _lacks_requirement(present, error):
        return _wrong_version(package, installed, reason)
    if blames_numpy(error) and 'numpy' in package.needs:
        mend = fit_to_numpy(f'{present}{package.required}')
        return Finding(name, reason, required, State.BROKEN, mend)
    return Finding(name, reason, required, State.BROKEN, mend_of(error, present))


def _wrong_version(package: Package, installed: dict[str, str], found: str) -> Finding:
    name, required, [present, *others] = package.distribution, package.required or 'any', installed
    if others or present == 'mmcv':  # which is built from source; mmcv-lite will do
        mend = replace_distributions(_requirement(package), *installed)
        return Finding(name, found, required, State.BROKEN, mend)
    wanted = _requirement(package) if present == name else f'{present}{package.required}'
    return Finding.to_install(name, found, required, State.BROKEN, wanted)


def _requirement(package: Package) -> str:
    if package.module == 'numpy':
        return numpy_requirement()
    return package.install or package.distribution + package.required


def _state_of_absence() -> State:
    """Whether what is absent was left out on purpose: sta.apply alone was installed."""
    is_installed = any(
        str(distribution.locate_file('')).endswith('-packages')
        for distribution in importlib.metadata.distributions(name='sta')
    )
    light = is_installed and all(module_folder(module) is None for module in OPENMMLAB)
    return State.NOTE if light else State.BROKEN


def _missing_files(distribution: str) -> list[str]:
    """Files that a wheel brought and that are not there; compiled ones come and go."""
    # Not from Distribution.files, which leaves out what is gone (Python 3.12, importlib_metadata).
    found = importlib.metadata.distribution(distribution)
    rows = csv.reader((found.read_text('RECORD') or '').splitlines())
    listed = [PurePosixPath(row[0]) for row in rows if row]
    wanted = [path for path in listed if path.suffix != '.pyc' and '..' not in path.parts]
    return [str(path) for path in wanted if not Path(str(found.locate_file(path))).exists()]


def _lacks_requirement(distribution: str, error: BaseException) -> bool:
    """Whether a module is missing because something that the distribution requires is."""
    if not isinstance(error, ModuleNotFoundError):
        return False
    lines = importlib.metadata.requires(distribution) or []
    plain = [line for line in lines if not re.search('extra|platform', line.partition(';')[2])]
    names = [re.split(r'[^\w.-]', line, maxsplit=1)[0] for line in plain]
    return any(distribution_version(name) is None for name in names)


def _owner(error: BaseException) -> str:
    """The installed distribution whose file is missing or raised; empty where there is none."""
    module = error.name if isinstance(error, ModuleNotFoundError) and error.name else ''
    traceback = error.__traceback__
    while traceback is not None and not isinstance(error, ModuleNotFoundError):
        name = traceback.tb_frame.f_globals.get('__name__', '')
        module = module if name.partition('.')[0] == 'importlib' else name
        traceback = traceback.tb_next
    owners = importlib.metadata.packages_distributions().get(module.partition('.')[0], [''])
    return owners[0] if owners[0] != 'sta' else ''


ABSENT = 'absent'


class State(str, Enum):
    """How a check came out; only BROKEN makes the environment unusable."""

    OK = 'ok'
    HEALED = 'healed'
    NOTE = 'note'
    SKIPPED = 'skipped'
    BROKEN = 'broken'


@dataclass(frozen=True)
class Finding:
    """One row of the doctor's table.

    Attributes:
        subject: what was looked at.
        found: version, result or first line of the error.
        required: range of versions, or what the check proves.
        state: how it came out.
        mend: command that repairs it, empty when there is nothing to repair.
        installs: requirements that this command installs and nothing else, so that it can be joined
            with others of its kind.
    """

    subject: str
    found: str
    required: str
    state: State
    mend: str = ''
    installs: tuple[str, ...] = ()

    @classmethod
    def to_install(
        cls, subject: str, found: str, required: str, state: State, *installs: str
    ) -> Finding:
        """A finding that plain installation of some requirements mends."""
        return cls(subject, found, required, state, install(*installs), installs)

    @property
    def is_usable(self) -> bool:
        """Whether what depends on the subject is worth trying."""
        return self.state is not State.BROKEN and not self.found.startswith(ABSENT)


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        subject: name of its row, or of its first.
        run: looks, given the subjects that are known not to be usable.
    """

    subject: str
    run: Callable[[set[str]], Iterable[Finding]]
