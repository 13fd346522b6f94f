"""How far an evaluation is: videos/s, share of time waiting for decoding, time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class EvaluationProgress:
    """A bar on a terminal, a line every half minute in a log file.

    Args:
        num_videos: how many this process will evaluate.
        shown: False prints nothing (all processes but the first).
        seconds_between_lines: how often a log gets a line.
    """

    def __init__(
        self, *, num_videos: int, shown: bool = True, seconds_between_lines: float = 30.0
    ) -> None:
        self.num_videos = num_videos
        self.done = 0
        self.wait_s = 0.0
        self._console = Console(stderr=True, quiet=not shown)
        self._seconds_between_lines = seconds_between_lines
        self._start = self._last_line = time.perf_counter()
        self._bar: Progress | None = None
        if shown and self._console.is_terminal:
            self._bar = Progress(
                TextColumn('evaluating'),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn('{task.fields[rate]:.1f} videos/s'),
                TextColumn('{task.fields[wait]:.0%} waiting for decoding'),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task('', total=num_videos, rate=0.0, wait=0.0)

    def __enter__(self) -> EvaluationProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def wait_share(self) -> float:
        """Share of the time that was spent waiting for decoded videos."""
        return self.wait_s / max(self.elapsed_s, 1e-9)

    def advance(self, num_videos: int, wait_s: float) -> None:
        """Count finished videos and the time their decoding was waited for."""
        self.done += num_videos
        self.wait_s += wait_s
        rate = self.done / max(self.elapsed_s, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=rate, wait=self.wait_share)
            return
        now = time.perf_counter()
        if now - self._last_line >= self._seconds_between_lines or self.done == self.num_videos:
            self._last_line = now
            left = (self.num_videos - self.done) / max(rate, 1e-9)
            self._console.print(
                f'evaluated {self.done}/{self.num_videos} videos, {rate:.1f} videos/s, '
                f'{self.wait_share:.0%} waiting for decoding, {left:.0f} s left',
                highlight=False,
                soft_wrap=True,
            )
