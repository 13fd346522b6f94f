"""Requirements, constraints, the doctor and the package's metadata say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

import sta
from sta.doctor.packages import PACKAGES
from sta.environment import satisfies
from sta.repair import OPENCV_NEWEST, OPENCV_VERSIONS, USUAL_WHEELS

ROOT = Path(__file__).parents[1]
PYTHONS = ('3.10', '3.11', '3.12')


def read_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def split_requirement(line: str) -> tuple[str, str]:
    name, specifiers = re.fullmatch(r'([\w.-]+)(.*)', line).groups()
    return name, specifiers


def pins_for(python: str) -> dict[str, str]:
    """Versions constraints.txt gives a Python; a second pin of the same name is an error."""
    pins: dict[str, str] = {}
    for line in read_lines('constraints.txt'):
        pin, _, marker = line.partition(';')
        name, version = pin.strip().split('==')
        condition = re.sub(r'\s*python_version\s*|"', '', marker).strip()
        applies = not condition or satisfies(python, condition.replace(' ', ''))
        if applies:
            assert name not in pins, f'{name} is pinned twice for Python {python}'
            pins[name] = version
    return pins


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('file', ['requirements.txt', 'requirements-dev.txt'])
def test_every_requirement_is_pinned_within_its_range(python: str, file: str) -> None:
    pins = pins_for(python)
    for name, specifiers in map(split_requirement, read_lines(file)):
        assert satisfies(pins[name], specifiers), f'{name}{specifiers}, pinned {pins[name]}'


@pytest.mark.parametrize('python', PYTHONS)
def test_pins_that_other_things_rest_on(python: str) -> None:
    pins = pins_for(python)
    assert pins['torch'] == '2.13.0'  # the version with a CPU wheel; see constraints.txt
    assert pins['opencv-python'] == pins['opencv-contrib-python']  # one folder, two wheels


def test_the_doctor_asks_for_what_requirements_ask_for() -> None:
    required = dict(map(split_requirement, read_lines('requirements.txt')))
    opencv = {wheel: required.pop(wheel) for wheel in USUAL_WHEELS}
    assert {package.distribution: package.required for package in PACKAGES} == required
    # One range for both, whose upper end exists of both: pip, left alone, then takes equal ones.
    assert set(opencv.values()) == {f'>={OPENCV_VERSIONS[0][:3]},<={OPENCV_NEWEST}'}
    assert OPENCV_NEWEST == pins_for('3.11')['opencv-python']
    install = {package.distribution: package.install for package in PACKAGES if package.install}
    assert install == {'torch': f'torch=={pins_for("3.11")["torch"]}'}


def test_setup_reads_the_version_without_importing() -> None:
    run = subprocess.run(
        [os.sys.executable, 'setup.py', '--name', '--version', '--license'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split()[-3:] == ['sta', sta.__version__, 'Apache-2.0']


def metadata_of_a_wheel(folder: Path) -> tuple[Message, list[str]]:
    """What pip would read of a wheel of this checkout, and the files in it; builds it offline."""
    copy = folder / 'checkout'
    copy.mkdir()
    for name in (
        'setup.py',
        'pyproject.toml',
        'requirements.txt',
        'requirements-dev.txt',
        'LICENSE',
    ):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / 'sta', copy / 'sta', ignore=shutil.ignore_patterns('__pycache__'))
    build = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*build, '-w', str(folder), str(copy)], check=True, capture_output=True)
    [wheel] = folder.glob('*.whl')
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith('.dist-info/METADATA')]
        return message_from_bytes(archive.read(metadata)), names


def test_a_plain_installation_is_light_and_the_extra_brings_the_rest(tmp_path: Path) -> None:
    metadata, names = metadata_of_a_wheel(tmp_path)
    asked = [line.replace(' ', '') for line in metadata.get_all('Requires-Dist')]
    plain = {line for line in asked if ';' not in line}
    assert {re.match(r'[\w-]+', line).group() for line in plain} == {'torch', 'einops'}
    extra = {line.partition(';')[0] for line in asked if 'extra==' in line and 'all' in line}
    assert {split_requirement(line)[0] for line in extra} == {
        split_requirement(line)[0] for line in read_lines('requirements.txt')
    }
    assert {'all', 'dev', 'export'} <= set(metadata.get_all('Provides-Extra'))
    for path in (ROOT / 'sta').rglob('*'):
        if path.is_file() and '__pycache__' not in path.parts:
            assert str(path.relative_to(ROOT)) in names, f'{path} is not in the wheel'


def test_every_folder_of_the_package_is_one() -> None:
    for path in (ROOT / 'sta').rglob('*.py'):
        assert (path.parent / '__init__.py').exists(), f'{path.parent} would not be installed'


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line.startswith('make')]
    assert commands == ['make test', 'make demo']


def test_make_alone_explains_itself() -> None:
    run = subprocess.run(['make'], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ('install', 'test', 'check', 'demo', 'train-data', 'clean'):
        assert re.search(rf'^  make {target} +[\w.]', run.stdout, re.MULTILINE), target
