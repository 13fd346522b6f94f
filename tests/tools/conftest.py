"""The tiny data set, rendered once, and what every refusal of a command line must look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sta.report import page
from sta.report.page import add_examples
from sta.sweeps import run as sweep_run
from sta.sweeps.job import ElementJob

from .tiny import Tiny, child_config, make_tiny, run_tool


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    """Default folders are relative to the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope='module', autouse=True)
def without_examples() -> Iterator[None]:
    """Example clips take half of a tiny evaluation: only tests that use `examples` have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, 'add_examples', lambda *_, **__: None)
        yield


@pytest.fixture
def examples(monkeypatch) -> None:
    monkeypatch.setattr(page, 'add_examples', add_examples)


@pytest.fixture
def child(tiny, tmp_path) -> Callable[..., Path]:
    """Make a config that changes one of the tiny ones."""

    def make(text: str, parent: Path = tiny.one_view) -> Path:
        return child_config(tmp_path / 'child.py', parent, text)

    return make


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
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
def misused(capsys) -> Callable[..., None]:
    """Run a tool whose arguments argparse itself refuses."""

    def run(tool: str, *arguments: object, said: tuple[str, ...]) -> None:
        assert run_tool(tool, *arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith('usage: ')
        for part in said:
            assert part in lines[-1]

    return run


@pytest.fixture
def in_process(monkeypatch) -> Iterator[list[str]]:
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
