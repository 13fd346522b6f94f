"""Which state of the source made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
