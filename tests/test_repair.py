"""The commands the doctor prints are run as printed, in environments broken for the purpose.

The environments are made in a folder with a space in its name. They see the packages of this one
but for those that a case breaks; those are their own.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sta import repair
from sta.doctor.packages import PACKAGES
from sta.doctor.report import PROBES, mend_of_probe
from tests.fake_packages import ROOT, write_metadata, write_module

SITE = Path(sysconfig.get_path('purelib'))
OPENCV = ('cv2', 'opencv*')
ALWAYS_OUT = ('__editable__*', 'sta-*', 'pip', 'pip-*', '*.pth', '__pycache__')
OFFLINE = {'PIP_NO_INDEX': '1', 'PIP_CONFIG_FILE': os.devnull, 'PIP_FIND_LINKS': ''}


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder that goes at once: an environment weighs up to 2 GB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


class Scratch:
    """A virtual environment that sees this one's packages, but for those of its own."""

    def __init__(self, folder: Path, *out: str, pip: bool = True) -> None:
        self.folder = folder
        self.python = folder / 'a place' / 'bin' / 'python'
        run([sys.executable, '-m', 'venv', '--without-pip', str(self.python.parents[1])])
        self.site = Path(
            self.output('-c', 'import sysconfig; print(sysconfig.get_path("purelib"))')
        )
        if pip:
            for path in SITE.glob('pip*'):
                shutil.copytree(path, self.site / path.name)
        # Outside the environment, so that pip never removes a file through these links.
        self.seen = folder / 'seen'
        self.seen.mkdir()
        for path in SITE.iterdir():
            if not any(fnmatch.fnmatch(path.name, name) for name in (*ALWAYS_OUT, *out)):
                (self.seen / path.name).symlink_to(path)
        (self.site / 'seen.pth').write_text(f'{self.seen}\n', encoding='utf-8')

    def environment(self) -> dict[str, str]:
        return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}

    def output(self, *arguments: str) -> str:
        return run([str(self.python), *arguments], env=self.environment()).stdout.strip()

    def pip(self, *arguments: str) -> None:
        run([str(self.python), '-m', 'pip', '--quiet', *arguments], env=self.environment())

    def install(self, *requirements: str) -> None:
        self.pip('install', '--no-deps', '--force-reinstall', *requirements)

    def hook(self, name: str, source: str) -> None:
        """Run some code whenever this Python starts."""
        (self.site / f'{name}.py').write_text(source, encoding='utf-8')
        (self.site / f'{name}.pth').write_text(f'import {name}\n', encoding='utf-8')

    def doctor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), '-m', 'sta.doctor', *arguments]
        shown = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )
        assert 'Traceback' not in shown.stdout + shown.stderr, shown.stderr
        assert shown.returncode in (0, 1)
        return shown

    def findings(self) -> dict[str, dict]:
        findings = json.loads(self.doctor('--json').stdout)['findings']
        return {finding['subject']: finding for finding in findings}

    def printed(self) -> list[str]:
        """The commands as they stand on the screen."""
        lines = self.doctor().stdout.splitlines()
        return [
            line.partition(': ')[2]
            for line in lines
            if re.match(r'  \S', line) or line.startswith('For the rest: ')
        ]

    def shell(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**self.environment(), **variables}
        return subprocess.run(
            command, shell=True, cwd=self.folder, env=env, capture_output=True, text=True
        )

    def installed(self) -> dict[str, str]:
        code = (
            'import importlib.metadata as m, json; '
            'print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))'
        )
        return json.loads(self.output('-c', code))


def run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@dataclass(frozen=True)
class Case:
    """An environment to break.

    Attributes:
        command: function of sta.repair that writes what the doctor prints.
        subjects: rows that say so.
        build: breaks it.
        gone: distributions that the command replaces by another.
        rounds: how often the doctor has to be asked: some faults hide others.
    """

    command: str
    subjects: tuple[str, ...]
    build: Callable[[Path], Scratch]
    gone: tuple[str, ...] = ()
    rounds: int = 1


def wheels(*requirements: str, then: tuple[str, ...] = ()) -> Callable[[Path], Scratch]:
    """OpenCV as these wheels leave it, one after the other, and then without some of them."""

    def build(folder: Path) -> Scratch:
        scratch = Scratch(folder, *OPENCV)
        for requirement in requirements:
            scratch.install(requirement)
        for name in then:
            scratch.pip('uninstall', '-y', name)
        return scratch

    return build


def no_desktop(*requirements: str) -> Callable[[Path], Scratch]:
    """The wheels whose library was linked with Qt do not load, as where libGL.so.1 is missing."""

    def build(folder: Path) -> Scratch:
        scratch = wheels(*requirements)(folder)
        source = """
import pathlib, sys
class NoDesktop:
    def find_spec(self, name, path=None, target=None):
        if name == 'cv2':
            for library in pathlib.Path(__file__).parent.glob('cv2/cv2*.so'):
                if b'libQt5' in library.read_bytes():
                    raise ImportError('libGL.so.1: cannot open shared object file')
sys.meta_path.insert(0, NoDesktop())
"""
        scratch.hook('no_desktop', source)
        return scratch

    return build


def full_mmcv(folder: Path) -> Scratch:
    """mmcv 2.2.0 by name; the real one takes half an hour to build."""
    scratch = Scratch(folder, 'mmcv*')
    scratch.install('mmcv-lite==2.2.0')
    [info] = scratch.site.glob('mmcv_lite-*.dist-info')
    renamed = info.rename(scratch.site / 'mmcv-2.2.0.dist-info')
    for name in ('METADATA', 'RECORD'):
        text = (renamed / name).read_text(encoding='utf-8')
        text = text.replace('Name: mmcv-lite', 'Name: mmcv').replace('mmcv_lite-', 'mmcv-')
        (renamed / name).write_text(text, encoding='utf-8')
    return scratch


def with_packages(*requirements: str, out: tuple[str, ...]) -> Callable[[Path], Scratch]:
    def build(folder: Path) -> Scratch:
        scratch = Scratch(folder, *out)
        for requirement in requirements:
            scratch.install(requirement)
        return scratch

    return build


def own_patterns() -> tuple[str, ...]:
    """Everything that PACKAGES are made of, by the names of its folders."""
    names = [n for p in PACKAGES for n in (p.distribution, p.module)]
    return (*OPENCV, '_yaml', *(f'{name.replace("-", "_").lower()}*' for name in names), 'PyYAML*')


def stubs(source: str, version: str | None) -> Callable[[Path], Scratch]:
    """All packages at once as modules of one line, under their own or another version."""

    def build(folder: Path) -> Scratch:
        scratch = Scratch(folder, *own_patterns())
        for package in PACKAGES:
            if version and not package.required:
                continue  # any version will do, so this one would be kept
            write_module(scratch.site, package.module, source)
            installed = importlib.metadata.version(package.distribution)
            write_metadata(scratch.site, package.distribution, version or installed)
            [info] = scratch.site.glob(f'{package.distribution.replace("-", "_")}-*.dist-info')
            files = (
                f'{package.module}/__init__.py',
                f'{info.name}/METADATA',
                f'{info.name}/RECORD',
            )
            (info / 'RECORD').write_text(''.join(f'{name},,\n' for name in files))
        for wheel in repair.USUAL_WHEELS:
            scratch.install(f'{wheel}=={repair.OPENCV_NEWEST}')
        return scratch

    return build


def light(folder: Path) -> Scratch:
    """sta.apply alone: torch, einops, and what torch requires."""
    torch_only = ('torch*', 'functorch*', 'einops*', 'sympy*', 'mpmath*', 'networkx*', 'jinja2*')
    torch_only += ('fsspec*', 'filelock*', 'typing_extensions*', 'markupsafe*', 'setuptools*')
    names = [path.name for path in SITE.iterdir()]
    out = [n for n in names if not any(fnmatch.fnmatch(n, pattern) for pattern in torch_only)]
    scratch = Scratch(folder, *out)
    write_metadata(scratch.site, 'sta', '0.1.0')
    return scratch


def old_torch(folder: Path) -> Scratch:
    """The real torch under an old version, made to refuse numpy 2 as one of its time does."""
    scratch = Scratch(folder)
    write_metadata(scratch.site, 'torch', '2.2.2')
    source = """
import importlib.util, sys
class OldTorch:
    def find_spec(self, name, path=None, target=None):
        if name != 'torch':
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec('torch')
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            import numpy
            if numpy.__version__[0] == '2':
                def from_numpy(array):
                    raise RuntimeError('Numpy is not available')
                module.from_numpy = from_numpy
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, OldTorch())
"""
    scratch.hook('old_torch', source)
    return scratch


def damaged_inside(folder: Path) -> Scratch:
    """Packages that import, and lack a file that is opened later."""
    scratch = Scratch(folder, 'decord*', 'mmaction*')
    scratch.install('decord==0.6.0', 'mmaction2==1.2.0')
    (scratch.site / 'decord' / 'video_reader.py').write_text('raise RuntimeError("cut")\n')
    (scratch.site / 'mmaction' / 'models' / 'backbones' / 'vit_mae.py').unlink()
    return scratch


def crashing(folder: Path) -> Scratch:
    scratch = Scratch(folder, 'decord*')
    scratch.install('decord==0.6.0')
    (scratch.site / 'decord' / '__init__.py').write_text('import os\nos.abort()\n')
    return scratch


def damaged_requirement(folder: Path) -> Scratch:
    scratch = Scratch(folder, 'addict*')
    scratch.install('addict')
    shutil.rmtree(scratch.site / 'addict')
    return scratch


def no_pip(folder: Path) -> Scratch:
    return Scratch(folder, 'einops*', pip=False)


HEADLESS_OLD = 'opencv-python-headless==4.13.0.92'
NEWEST = ('opencv-python==5.0.0.93', 'opencv-contrib-python==5.0.0.93')
MIXED = ('opencv-python==5.0.0.93', 'opencv-contrib-python==5.1.0.95')
FOR_NUMPY_1 = ('opencv-python==4.9.0.80', 'opencv-contrib-python==4.9.0.80')
CASES = {
    'two wheels of two versions': Case('repair_opencv', ('opencv',), wheels(*MIXED)),
    'three wheels': Case('repair_opencv', ('opencv',), wheels(*MIXED, HEADLESS_OLD)),
    'a wheel removed': Case('repair_opencv', ('opencv',), wheels(*NEWEST, then=(NEWEST[0][:13],))),
    'numpy 2 came': Case('repair_opencv', ('opencv',), wheels(*FOR_NUMPY_1)),
    'no desktop': Case('repair_opencv', ('opencv',), no_desktop(*NEWEST)),
    'no desktop, two versions': Case('repair_opencv', ('opencv',), no_desktop(*MIXED)),
    'mmcv-lite too new': Case(
        'install', ('mmcv-lite',), with_packages('mmcv-lite==2.2.0', out=('mmcv*',))
    ),
    'mmcv too new': Case('replace_distributions', ('mmcv-lite',), full_mmcv, gone=('mmcv',)),
    'two mmengines': Case(
        'replace_distributions',
        ('mmengine',),
        with_packages('mmengine==0.10.7', 'mmengine-lite==0.10.5', out=('mmengine*',)),
        gone=('mmengine-lite',),
    ),
    'light': Case('install', ('mmengine', 'opencv', 'numpy', 'optuna'), light),
    'all too old': Case(
        'install', tuple(p.distribution for p in PACKAGES if p.required), stubs('', '0.0.1')
    ),
    'all damaged': Case(
        'reinstall', ('numpy', 'torch'), stubs('raise RuntimeError(1)', None), rounds=7
    ),
    'damaged inside': Case('reinstall', ('decord', 'mmaction.models'), damaged_inside),
    'crashes': Case('reinstall', ('decord',), crashing),
    'a requirement damaged': Case('reinstall', ('mmengine',), damaged_requirement),
    'a requirement absent': Case('install', ('mmengine',), with_packages(out=('addict*',))),
    'scipy for numpy 1': Case(
        'fit_to_numpy', ('scipy',), with_packages('scipy==1.11.4', out=('scipy*',))
    ),
    'torch for numpy 1': Case('return_to_numpy_1', ('arrays',), old_torch),
    'no pip': Case('install', ('einops',), no_pip),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_what_the_doctor_prints_mends_and_a_failure_changes_nothing(name, folder) -> None:
    case = CASES[name]
    scratch = case.build(folder)
    before, had = scratch.findings(), scratch.installed()
    light_rows = {'note'} if name == 'light' else {'broken'}
    assert {before[subject]['state'] for subject in case.subjects} == light_rows, before
    for command in scratch.printed():
        failed = scratch.shell(command, **OFFLINE)
        assert failed.returncode != 0, f'{command}\n{failed.stdout}'
    if name != 'no pip':  # where the failing command has brought pip by then
        assert scratch.findings() == before and scratch.installed() == had
    for _ in range(case.rounds):
        for command in scratch.printed():
            done = scratch.shell(command)
            assert done.returncode == 0, f'{command}\n{done.stdout}{done.stderr}'
    after = scratch.findings()
    assert [f for f in after.values() if f['state'] == 'broken'] == []
    assert {after[subject]['state'] for subject in case.subjects} == {'ok'}
    well = {subject for subject, finding in before.items() if finding['state'] in ('ok', 'healed')}
    assert well - {s for s, f in after.items() if f['state'] in ('ok', 'healed')} <= {'pip'}
    assert set(had) - set(scratch.installed()) == set(case.gone)


@pytest.mark.slow
def test_a_python_of_the_system_is_left_alone(folder) -> None:
    marker = Path(f'/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}/EXTERNALLY-MANAGED')
    python = Path(f'/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}')
    if not (marker.exists() and python.exists()):
        pytest.skip('no Python of this version that the system owns')
    scratch = Scratch(folder, 'einops*')
    scratch.environment = lambda: {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(scratch.seen)]),
    }
    scratch.python = python
    assert scratch.findings()['einops']['state'] == 'broken'
    assert 'PEP 668' in scratch.findings()['pip']['found']
    [command] = scratch.printed()
    assert scratch.shell(command, **OFFLINE).returncode != 0
    assert scratch.shell(command).returncode == 0
    assert scratch.findings()['einops']['state'] == 'broken'  # untouched
    scratch.python = folder / 'sta-venv' / 'bin' / 'python'
    assert scratch.findings()['einops']['state'] == 'ok'


@pytest.mark.slow
def test_make_puts_the_headless_wheel_over_the_others(folder) -> None:
    scratch = no_desktop(*NEWEST)(folder)
    plain = folder / 'env'
    plain.symlink_to(scratch.python.parents[1])  # make knows no names with spaces
    make = ['make', '-C', str(ROOT), 'headless-opencv', f'VENV={plain}']
    failed = subprocess.run(make, env={**scratch.environment(), **OFFLINE}, capture_output=True)
    assert failed.returncode != 0
    assert set(scratch.installed()) >= {'opencv-python', 'opencv-contrib-python'}
    run(make, env=scratch.environment())
    assert scratch.findings()['opencv']['state'] == 'ok'


@pytest.mark.slow
def test_a_python_too_old_is_told_how_to_make_an_environment(folder) -> None:
    """Both what the doctor says and what `make install` says, in a copy of the project."""
    old, new = (
        sorted(Path.home().glob('.pyenv/versions/3.9.*/bin/python')),
        shutil.which('python3.11'),
    )
    if not (old and new):
        pytest.skip('no Python 3.9 beside a Python 3.11 here')
    copy = folder / 'copy'
    copy.mkdir()
    for name in ('Makefile', 'setup.py', 'pyproject.toml', 'sta', 'tools'):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    for path in [*ROOT.glob('requirements*.txt'), ROOT / 'constraints.txt']:
        shutil.copy(path, copy)
    shown = subprocess.run([old[0], 'tools/doctor.py'], cwd=copy, capture_output=True, text=True)
    command = shown.stdout.splitlines()[-1].partition(': ')[2]
    refused = subprocess.run(
        ['make', 'install', f'PYTHON={old[0]}', 'VENV=other'],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert 'Mend: make install PYTHON=python3.11' in refused.stdout
    assert subprocess.run(command, shell=True, cwd=folder).returncode == 0
    run([str(copy / '.venv-3.11/bin/python'), '-m', 'sta.doctor'], env=dict(os.environ))


def functions_that_write_commands() -> set[str]:
    tree = ast.parse((ROOT / 'sta' / 'repair.py').read_text(encoding='utf-8'))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(getattr(n, 'id', '') == 'pip_command' for n in ast.walk(node))
    }


def test_every_kind_of_command_is_run() -> None:
    assert {case.command for case in CASES.values()} == functions_that_write_commands()
    rows = {package.distribution for package in PACKAGES if package.required}
    assert set(CASES['all too old'].subjects) == rows


def test_commands_are_written_in_one_place() -> None:
    """Another module that spells out `pip install` or removes something escapes the tests above."""
    for path in (ROOT / 'sta').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            text = node.value if isinstance(node, ast.Constant) else ''
            if isinstance(text, str) and re.search(r'-m pip|pip uninstall|uninstall -y', text):
                assert path.name == 'repair.py', f'{path}: {text}'


@pytest.mark.parametrize('probe', PROBES, ids=lambda probe: probe.subject)
def test_every_probe_blames_a_package_that_is_there(probe) -> None:
    try:
        raise ValueError('wrong')
    except ValueError as error:
        assert mend_of_probe(probe, error) == repair.reinstall(probe.blamed)
    assert probe.blamed in {package.distribution for package in PACKAGES}


def test_paths_with_spaces_and_pythons_without_pip(monkeypatch) -> None:
    monkeypatch.setattr(sys, 'executable', "/opt/it's mine/bin/python")
    python = """'/opt/it'"'"'s mine/bin/python'"""
    assert repair.install('av>=11') == f'{python} -m pip install "av>=11"'
    monkeypatch.setattr(repair, 'module_folder', lambda name: None)
    assert repair.install('av>=11').startswith(f'{python} -m ensurepip && {python} -m pip install')
    monkeypatch.setattr(repair, 'is_managed', lambda: True)
    setup, install = repair.install('av>=11').split(' && ')
    assert setup == f'{python} -m venv --system-site-packages sta-venv'
    assert install == 'sta-venv/bin/python -m pip install "av>=11"'


@pytest.fixture
def versions(monkeypatch) -> dict[str, str]:
    """Installed versions, to be filled by a test."""
    found: dict[str, str] = {}
    monkeypatch.setattr(repair, 'distribution_version', found.get)
    return found


def steps(command: str) -> list[str]:
    return [step.partition(' -m pip ')[2] for step in command.split(' && ')]


def test_opencv_comes_in_one_version_that_fits_numpy(versions) -> None:
    both = '"opencv-python=={0}" "opencv-contrib-python=={0}"'
    new, old = both.format('5.0.0.93'), both.format('4.11.0.86')
    assert steps(repair.install('mmaction2==1.2.0')) == [f'install "mmaction2==1.2.0" {new}']
    versions |= {'numpy': '1.26.4', 'opencv-python': '4.8.1.78'}
    fetch, install, again = steps(repair.install('mmengine>=0.10'))
    assert re.fullmatch(rf'wheel --no-deps -w \S+ {old}', fetch)
    assert install == f'install "mmengine>=0.10" {old} "numpy>=1.24,<2"'
    assert re.fullmatch(rf'install --force-\S+ --no-deps --no-index --find-links \S+ {old}', again)
    versions |= {'opencv-contrib-python': '4.8.1.78'}
    assert '"opencv' not in repair.install('mmengine>=0.10')  # nothing to change
    forced = 'install --force-reinstall --no-deps'
    assert steps(repair.repair_opencv()) == [f'{forced} {both.format("4.8.1.78")}']
    assert steps(repair.repair_opencv(headless=True)) == [f'{forced} "{repair.HEADLESS}==4.8.1.78"']
    versions |= {'numpy': '2.4.6'}
    assert steps(repair.repair_opencv(rebuild=True))[1] == f'{forced} {new}'
    versions |= {'opencv-contrib-python': '5.1.0.95'}
    assert steps(repair.repair_opencv())[1] == f'{forced} {new}'
    del versions['opencv-python']  # 5.1 exists of contrib; a headless wheel of it does not
    assert steps(repair.repair_opencv()) == [f'{forced} "opencv-contrib-python==5.1.0.95"']
    assert steps(repair.repair_opencv(headless=True))[3].endswith(f'"{repair.HEADLESS}==5.0.0.93"')
    versions |= {'torch': '2.2.2'}  # which is for numpy 1: one version for either numpy
    assert repair.opencv_version() == '4.11.0.86'


def test_a_headless_wheel_stays_the_last(versions) -> None:
    versions |= {'numpy': '2.4.6', 'opencv-python-headless': '4.13.0.92'}
    fetch, install, usual, headless = steps(repair.install('mmcv-lite>=2.0'))
    assert fetch.startswith('wheel ') and fetch.endswith('"opencv-python-headless==5.0.0.93"')
    assert '"opencv-python==5.0.0.93" "opencv-contrib-python==5.0.0.93"' in install
    assert '--no-index' in usual and usual.endswith('"opencv-contrib-python==5.0.0.93"')
    assert '--no-index' in headless and headless.endswith(' "opencv-python-headless==5.0.0.93"')
