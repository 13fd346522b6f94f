"""The tiny data set of the command lines' tests."""

from __future__ import annotations

import pytest

from tests.tools.tiny import Tiny, forget_loggers, make_tiny


@pytest.fixture(scope='session')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(autouse=True)
def no_loggers_of_earlier_tests() -> None:
    forget_loggers()
