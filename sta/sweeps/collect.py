"""Look at a sweep, whether it still runs or not: states, merged tables, files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sta.errors import DataError, StoreError
from sta.report import Evaluation, load

from .manifest import Manifest, read_manifest
from .merge import merge
from .outputs import RESULTS, write_sweep
from .state import FAILED, NOT_SUBMITTED, PENDING, RUNNING, ElementState, state_of
from .submissions import read_queue, read_submissions


@dataclass(frozen=True)
class Collected:
    """What was found of a sweep.

    Attributes:
        manifest: what it is a sweep of.
        states: of all elements.
        found: merged results by evaluation; those that have any.
        problems: why scores of an evaluation could not be merged, a line each.
        written: files.
    """

    manifest: Manifest
    states: tuple[ElementState, ...]
    found: dict[str, Evaluation]
    problems: tuple[str, ...]
    written: tuple[Path, ...]

    @property
    def is_going_on(self) -> bool:
        """Whether anything runs or waits for a job that was submitted."""
        return any(
            state.state == RUNNING or (state.state == PENDING and state.reason != NOT_SUBMITTED)
            for state in self.states
        )

    @property
    def has_failed(self) -> bool:
        """Whether any element failed, or any scores could not be merged."""
        return bool(self.problems) or any(state.state == FAILED for state in self.states)


def look(folder: Path) -> tuple[Manifest, tuple[ElementState, ...]]:
    """The state of every element.

    Raises:
        DataError: not a folder of tools/sweep.py, or a damaged one.
    """
    manifest = read_manifest(folder)
    queue, submitted = read_queue(), read_submissions(folder)
    states = tuple(
        state_of(element, videos, queue, submitted.get(element.name))
        for element, videos in manifest.elements(folder)
    )
    return manifest, states


def collect(folder: Path) -> Collected:
    """Look at a sweep, merge what is there, and write all files.

    Raises:
        DataError: not a folder of tools/sweep.py, or a damaged one.
    """
    manifest, states = look(folder)
    found: dict[str, Evaluation] = {}
    problems = []
    for planned in manifest.planned:
        name = planned.evaluation.name
        own = [state for state in states if state.element.evaluation.name == name]
        try:
            if merge(planned, own, folder / RESULTS / name):
                found[name] = load(folder / RESULTS / name)
        except (DataError, StoreError) as error:
            problems.append(f'{name}: {error}')
    written = write_sweep(manifest, found, states, folder)
    return Collected(manifest, states, found, tuple(problems), tuple(written))
