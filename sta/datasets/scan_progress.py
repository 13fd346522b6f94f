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


def rate_text(rate: float) -> str:
    """Videos per second; seconds per video where that is the number of interest."""
    if rate >= 0.1:
        return f'{rate:.1f} videos/s'
    return f'{1 / rate:.0f} s/video' if rate > 0 else 'no video yet'


def time_text(seconds: float) -> str:
    """Seconds up to ten minutes, then minutes, from two hours on hours."""
    if seconds < 600:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


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
                TextColumn('{task.fields[rate]}, {task.fields[broken]} broken'),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
                redirect_stdout=False,  # else what is printed meanwhile would go to stderr
            )
            self._task = self._bar.add_task('', total=self.num_videos, rate='', broken=0)
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
            self._bar.update(
                self._task, completed=self.done, rate=rate_text(rate), broken=self.broken
            )
            return
        now = time.perf_counter()
        if now - self._last_line >= self._seconds_between_lines:
            self._last_line = now
            left = (self.num_videos - self.done) / max(rate, 1e-9)
            self._console.print(
                f'scanned {self.done}/{self.num_videos} videos, {rate_text(rate)}, '
                f'{self.broken} broken, {time_text(left)} left',
                highlight=False,
                soft_wrap=True,
            )
