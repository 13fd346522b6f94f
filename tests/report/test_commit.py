"""The commit is that of this folder's own checkout, or nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sta.report.commit import commit_of

GIT = shutil.which('git')


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
