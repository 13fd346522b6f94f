"""How far a scan is: a bar on a terminal, a line every half minute in a log."""

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


class ScanProgress:
    """Counts scanned and broken videos.

    Args:
        num_videos: how many will be scanned.
        seconds_between_lines: how often a log gets a line.
    """

    def __init__(self, *, num_videos: int, seconds_between_lines: float = 30.0) -> None:
        self.num_videos = num_videos
        self.done = self.broken = 0
        self._seconds_between_lines = seconds_between_lines
        self._start = self._last_line = time.perf_counter()
        self._console = Console(stderr=True)
        self._bar: Progress | None = None

    def __enter__(self) -> ScanProgress:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn('scanning'),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn('{task.fields[rate]:.1f} videos/s, {task.fields[broken]} broken'),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task('', total=self.num_videos, rate=0.0, broken=0)
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

    def advance(self, *, broken: bool) -> None:
        """Count a video."""
        self.done += 1
        self.broken += broken
        rate = self.done / max(self.elapsed_s, 1e-9)
        if self._bar is not None:
            # Started with the first result: its thread must not be there when workers are forked.
            if not self._bar.live.is_started:
                self._bar.start()
            self._bar.update(self._task, completed=self.done, rate=rate, broken=self.broken)
            return
        now = time.perf_counter()
        if now - self._last_line >= self._seconds_between_lines:
            self._last_line = now
            left = (self.num_videos - self.done) / max(rate, 1e-9)
            self._console.print(
                f'scanned {self.done}/{self.num_videos} videos, {rate:.1f} videos/s, '
                f'{self.broken} broken, {left:.0f} s left',
                highlight=False,
                soft_wrap=True,
            )
