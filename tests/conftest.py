"""Settings of the whole test run."""

from __future__ import annotations

import gc
import logging

import mmengine.config.config
import pytest
import torch
from mmengine.registry import init_default_scope

# The tensors of the tests are tiny: handing them between threads costs four times the work itself.
torch.set_num_threads(1)

# mmengine's loggers live as long as the process and keep writing to the captured stream of the test
# that made them; a stream that is closed by then is not a failure of the test that comes later.
logging.raiseExceptions = False

# mmengine writes every config to its log, laid out by yapf, which takes longer than a tiny model.
mmengine.config.config.FormatCode = lambda text, **_: (text, True)


def pytest_collection_finish() -> None:
    """Keep what was imported out of collections: mmengine's data sets ask for one each."""
    gc.freeze()


@pytest.fixture(autouse=True)
def names_of_mmaction() -> None:
    """Names in configs mean mmaction2's, also behind a test whose tool has set all names anew."""
    init_default_scope('mmaction')
