"""The tiny data set, rendered once, and what every refusal of a command line must look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from sta.report import folder as report_folder
from sta.sweeps import collect as sweep_collection
from sta.sweeps import run as sweep_run
from sta.sweeps.job import ElementJob
from tests.checkpoints.sources import WRAPPINGS, authors_names

from .conversions import half_weights
from .tiny import Tiny, child_config, make_tiny, run_tool


@pytest.fixture(scope='session')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default folders are relative to the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def blank_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes half of a tiny evaluation: only tests of pictures, so marked, draw.

    Module-wide fixtures are run before this one, and draw.
    """
    if request.node.get_closest_marker('pictures'):
        return
    for module in (report_folder, sweep_collection):
        for name in ('plot_accuracy_vs_gflops', 'plot_accuracy_vs_throughput'):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_, **__: Figure(figsize=(1, 1)))


@pytest.fixture
def child(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """Make a config that changes one of the tiny ones."""

    def make(text: str, parent: Path = tiny.one_view) -> Path:
        return child_config(tmp_path / 'child.py', parent, text)

    return make


@pytest.fixture
def refused(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Run a tool that must fail with one clear line; gives the line."""

    def run(tool: str, *arguments: object, said: tuple[str, ...]) -> str:
        capsys.readouterr()
        status = run_tool(tool, *arguments)
        error = capsys.readouterr().err
        assert status == 2, error
        assert error.startswith('error: ')
        assert error.count('\n') == 1 and error.endswith('\n'), error
        assert 'Traceback' not in error
        for part in said:
            assert part in error
        return error

    return run


@pytest.fixture
def misused(capsys: pytest.CaptureFixture) -> Callable[..., None]:
    """Run a tool whose arguments argparse itself refuses."""

    def run(tool: str, *arguments: object, said: tuple[str, ...]) -> None:
        assert run_tool(tool, *arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith('usage: ')
        for part in said:
            assert part in lines[-1]

    return run


@pytest.fixture
def authors(tiny: Tiny, tmp_path: Path) -> Path:
    """The tiny checkpoint as the authors of VideoMAE would have saved it, in half precision."""
    weights = dict(reversed(half_weights(tiny).items()))  # no order is to be relied on
    torch.save(WRAPPINGS['model'](authors_names(weights)), tmp_path / 'authors.pth')
    return tmp_path / 'authors.pth'


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Elements run in this process, which spares them the start of Python; gives their names."""
    names: list[str] = []

    def run(
        jobs: Sequence[ElementJob],
        _: Any,
        folder: Path,
        *,
        started: Callable[..., None],
        ended: Callable[..., None],
    ) -> None:
        for job in jobs:
            names.append(job.name)
            started(job, '999999999')  # no such process: it has ended
            run_tool('test', *job.command[2:])
            ended(job)

    monkeypatch.setattr(sweep_run, 'run_locally', run)
    yield names
