"""What is installed, from files and metadata, since importing may fail; what a screen takes."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path


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
