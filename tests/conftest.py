"""Settings of the whole test run."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import mmengine.config.config
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from mmengine.registry import init_default_scope

# The tensors of the tests are tiny: handing them between threads costs four times the work itself.
torch.set_num_threads(1)

# mmengine's loggers live as long as the process and keep writing to the captured stream of the test
# that made them; a stream that is closed by then is not a failure of the test that comes later.
logging.raiseExceptions = False

# Rooms whose tests run whole commands: what these draw is looked at where a test asks for pictures.
UNDRAWN = ('engine', 'paper', 'search', 'sweeps', 'tools')

# mmengine writes every config to its log, laid out by yapf, which takes longer than a tiny model.
mmengine.config.config.FormatCode = lambda text, **_: (text, True)


def pytest_collection_finish() -> None:
    """Keep what was imported out of collections: mmengine's data sets ask for one each."""
    gc.freeze()


@pytest.fixture(autouse=True)
def names_of_mmaction() -> None:
    """Names in configs mean mmaction2's, also behind a test whose tool has set all names anew."""
    init_default_scope('mmaction')


@pytest.fixture(scope='module', autouse=True)
def drawing(request: pytest.FixtureRequest) -> Iterator[Callable[[], AbstractContextManager]]:
    """Plots are saved blank, which spares most of a tiny evaluation, but ``with drawing():``."""
    real, lay_out, patch = Figure.savefig, ConstrainedLayoutEngine.execute, pytest.MonkeyPatch()

    def blank(figure: Figure, *target: Any, **options: Any) -> None:
        real(Figure(figsize=(1, 1)), *target, **options)

    @contextmanager
    def in_earnest() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as context:
            context.setattr(Figure, 'savefig', real)
            context.setattr(ConstrainedLayoutEngine, 'execute', lay_out)
            yield

    if request.path.parent.name in UNDRAWN:
        patch.setattr(Figure, 'savefig', blank)
        patch.setattr(ConstrainedLayoutEngine, 'execute', lambda *_: None)
    yield in_earnest
    patch.undo()


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, drawing: Callable) -> Iterator[None]:
    """Tests of pictures, so marked, draw."""
    with drawing() if request.node.get_closest_marker('pictures') else nullcontext():
        yield
