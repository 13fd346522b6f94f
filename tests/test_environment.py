"""What is installed is told without importing it; the commit is of this folder's own checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sta.environment import (
    commit_of,
    distribution_folder,
    distribution_version,
    module_folder,
    release,
    satisfies,
)
from tests.fake_packages import Hider, write_metadata, write_module

GIT = shutil.which('git')


@pytest.mark.parametrize(
    ('version', 'numbers'),
    [('2.13.0+cpu', (2, 13, 0)), ('2.0.0rc4', (2, 0, 0)), ('5.0.0.93', (5, 0, 0, 93)), ('git', ())],
)
def test_release_takes_the_leading_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert release(version) == numbers


@pytest.mark.parametrize(
    ('version', 'specifiers', 'inside'),
    [
        ('2.13.0+cpu', '>=2.1', True),
        ('2.9.1', '>=2.13', False),  # numbers, not letters: 9 < 13
        ('2.1', '>=2.1.0', True),
        ('2.1.0', '>=2.0,<2.2', True),
        ('2.2', '>=2.0,<2.2', False),
        ('1.9', '>=2.0,<2.2', False),
        ('1.2', '==1.2.0', True),
        ('1.2.1', '==1.2.0', False),
        ('5.0.0.93', '>=4.8,<=5.0.0.93', True),
        ('5.1.0.95', '>=4.8,<=5.0.0.93', False),
        ('7', '', True),
    ],
)
def test_satisfies(version: str, specifiers: str, inside: bool) -> None:
    assert satisfies(version, specifiers) is inside


def test_satisfies_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"'~=2.0' is none of >=, <=, <, =="):
        satisfies('2.0', '>=1.0,~=2.0')


def test_module_folder_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_module(tmp_path, 'explosive', 'raise SystemExit("imported")')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert module_folder('explosive') == tmp_path / 'explosive'
    assert 'explosive' not in sys.modules


def test_module_folder_is_not_fooled_by_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'nowhere_on_disk', ModuleType('nowhere_on_disk'))
    assert module_folder('nowhere_on_disk') is None


def test_module_folder_takes_a_refusing_finder_for_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert module_folder('json') is not None
    monkeypatch.setattr(sys, 'meta_path', [Hider('json'), *sys.meta_path])
    assert module_folder('json') is None


def test_distribution_names_and_module_names_lead_to_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module(tmp_path, 'hostpkg', '')
    write_metadata(tmp_path, 'hostpkg2', '1.2.0', top_level='hostpkg')
    monkeypatch.syspath_prepend(str(tmp_path))
    expected = str(tmp_path / 'hostpkg')
    assert distribution_folder('hostpkg2') == expected
    assert distribution_folder('hostpkg') == expected
    assert distribution_version('hostpkg2') == '1.2.0'
    assert distribution_version('hostpkg') is None
    with pytest.raises(ModuleNotFoundError, match="'hostpkg3'"):
        distribution_folder('hostpkg3')


def git(folder: Path, *words: str) -> str:
    who = ('-c', 'user.name=n', '-c', 'user.email=e@example.org')
    done = subprocess.run([GIT, *who, '-C', str(folder), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(GIT is None, reason='no git on this machine')
def test_a_checkout_and_what_lies_in_it(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q')
    assert commit_of(tmp_path) is None  # nothing committed yet
    (tmp_path / 'a.py').write_text('1')
    git(tmp_path, 'add', 'a.py')
    git(tmp_path, 'commit', '-qm', 'first')
    commit = git(tmp_path, 'rev-parse', 'HEAD')
    assert len(commit) == 40 and commit_of(tmp_path) == commit
    (tmp_path / 'results.json').write_text('{}')  # not part of the source
    assert commit_of(tmp_path) == commit
    (tmp_path / 'a.py').write_text('2')
    assert commit_of(tmp_path) == f'{commit} with changes'
    (tmp_path / 'installed').mkdir()
    assert commit_of(tmp_path / 'installed') is None  # the checkout above is another project


def test_without_git_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / '.git').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path))
    assert commit_of(tmp_path) is None
