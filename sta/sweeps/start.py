"""Start what is missing of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sta.report.table import counted

from .job import ElementJob
from .local import run_locally
from .manifest import Manifest, Planned, check_same, write_manifest
from .plan import Element, Sweep
from .slurm import script_text, submit_array
from .state import DONE, FAILED, NOT_SUBMITTED, ElementState, state_of
from .submissions import Submission, read_queue, read_submissions

JOBS = 'jobs'  # what submitit writes


@dataclass(frozen=True)
class Start:
    """A sweep about to be started.

    Attributes:
        sweep: what was asked for.
        planned: what was found of it.
        folder: of the sweep.
        tool: tools/test.py.
        facts: command, commit and so on.
        say: prints a line.
    """

    sweep: Sweep
    planned: tuple[Planned, ...]
    folder: Path
    tool: Path
    facts: Mapping[str, Any]
    say: Callable[[str], None]

    def dry(self) -> None:
        """Print every job that would be started, and the script; nothing is written."""
        missing = self._missing()
        for element in missing:
            self.say(f'{element.name}: {element.typed()}')
        resources = self.sweep.resources
        if missing and resources.executor == 'slurm':
            self.say('')
            script = script_text(len(missing), self.sweep.name, resources, self.folder / JOBS)
            self.say(script.rstrip())
        elements = self._manifest().elements(self.folder)
        videos = sum(number for _, number in elements)
        self.say('')
        self.say(
            f'dry run: {counted(len(missing), "element")} of {len(elements)} would be started, '
            f'{counted(videos, "video")} in all; nothing was submitted'
        )

    def run(self) -> int:
        """Start what is missing; with SLURM returns at once.

        Returns:
            Exit status: 1 where an element failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = self._missing()
        write_manifest(self._manifest(), self.folder)
        if not missing:
            self.say(f'nothing is left to start in {self.folder}')
            return 0
        executor = self.sweep.resources.executor
        submission = Submission.begin(self.folder, executor, self.facts)
        jobs = [self._job(element) for element in missing]
        if executor == 'slurm':
            return self._submit(jobs, submission)
        return self._run_locally(jobs, submission)

    def _submit(self, jobs: list[ElementJob], submission: Submission) -> int:
        ids = submit_array(jobs, self.sweep.name, self.sweep.resources, self.folder / JOBS)
        submission.add({job.name: id_ for job, id_ in zip(jobs, ids, strict=True)})
        first, last = ids[0], ids[-1]
        span = first if first == last else f'{first} to {last}'
        self.say(f'submitted {counted(len(jobs), "element")} as {span}')
        self.say(f'how far they are: python tools/collect.py {self.folder} --watch')
        return 0

    def _run_locally(self, jobs: list[ElementJob], submission: Submission) -> int:
        numbers = {job.name: number for number, job in enumerate(jobs, start=1)}
        failed: list[str] = []

        def started(job: ElementJob, id_: str) -> None:
            submission.add({job.name: id_})
            self.say(f'[{numbers[job.name]}/{len(jobs)}] {job.name}: started')

        def ended(job: ElementJob) -> None:
            state = self._state(job.name)
            line = f'[{numbers[job.name]}/{len(jobs)}] {job.name}: {state.state}'
            if state.state != DONE:
                failed.append(job.name)
                line += f', {state.reason}: ' + ' '.join(state.log_end(1))
            self.say(line)

        run_locally(jobs, self.sweep.resources, self.folder / JOBS, started=started, ended=ended)
        if failed:
            self.say(f'{len(failed)} of {len(jobs)} failed; the same command tries them again')
        self.say(f'tables and plots: python tools/collect.py {self.folder}')
        return 1 if failed else 0

    def _missing(self) -> list[Element]:
        """Elements that are neither done nor on their way; says how many of those there are."""
        check_same(self.folder, self.planned)
        queue, submitted = read_queue(), read_submissions(self.folder)
        missing, done, busy = [], 0, 0
        for element, videos in self._manifest().elements(self.folder):
            state = state_of(element, videos, queue, submitted.get(element.name))
            if state.state == DONE:
                done += 1
            elif state.state != FAILED and state.reason != NOT_SUBMITTED:
                busy += 1
            else:
                missing.append(element)
        if done or busy:
            self.say(f'{done} done before, {busy} running or queued, {len(missing)} to start')
        return missing

    def _manifest(self) -> Manifest:
        return Manifest(self.sweep.name, self.planned, self.facts)

    def _job(self, element: Element) -> ElementJob:
        return ElementJob(
            name=element.name,
            command=element.command(self.tool),
            folder=element.folder,
            started_in=Path.cwd(),
            root=self.tool.parents[1],
        )

    def _state(self, name: str) -> ElementState:
        elements = {e.name: (e, videos) for e, videos in self._manifest().elements(self.folder)}
        return state_of(*elements[name], None, read_submissions(self.folder).get(name))
