"""Packages that are absent, broken or of another version; the real installation stays."""

from __future__ import annotations

import importlib.abc
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Hider(importlib.abc.MetaPathFinder):
    """Put first in sys.meta_path, makes modules look as if they were not installed."""

    def __init__(self, *modules: str) -> None:
        self.modules = modules

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.split('.')[0] in self.modules:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)


def write_module(folder: Path, name: str, source: str) -> None:
    """Put package `name` into a folder meant for sys.path."""
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / '__init__.py').write_text(source, encoding='utf-8')


def write_metadata(folder: Path, distribution: str, version: str, top_level: str = '') -> None:
    """Make pip's metadata in that folder name a distribution of that version."""
    info = folder / f'{distribution.replace("-", "_")}-{version}.dist-info'
    info.mkdir(parents=True)
    text = f'Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n'
    (info / 'METADATA').write_text(text, encoding='utf-8')
    if top_level:
        (info / 'top_level.txt').write_text(f'{top_level}\n', encoding='utf-8')


def run_python(
    *arguments: str, shadowed_by: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this Python in the project root; packages of the folder come before the real ones."""
    folders = [str(ROOT)] if shadowed_by is None else [str(shadowed_by), str(ROOT)]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(folders), 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
