"""Every kind of host."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

import pytest

from tests.hosts import timm_standin
from tests.hosts.pairs import PAIRS, Pair


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return PAIRS[request.param]()


@pytest.fixture
def importable_standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pickle find the stand-in where timm is missing."""
    if find_spec('timm') is not None:
        return
    names = timm_standin.MODULE.split('.')
    for i in range(len(names)):
        name = '.'.join(names[: i + 1])
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    for kind in timm_standin.CLASSES:
        setattr(module, kind.__name__, kind)
