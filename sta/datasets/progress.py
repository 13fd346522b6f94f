"""How far work on many videos is: a bar on a terminal, a line every half minute in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

# A batch that takes longer shows how many of its views are done.
_LONG_BATCH_S = 3.0


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


class _Live(ProgressColumn):
    """Text that is asked for whenever the bar is drawn."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._text = text

    def render(self, task: Task) -> Text:
        return Text(self._text())


class VideoProgress:
    """Counts videos that are done; shows how many, how fast, and how long the rest will take.

    Args:
        num_videos: how many this process will work on.
        num_stored: how many were done before; they count as done, not as work.
        shown: False prints nothing (all processes but the first).
        seconds_between_lines: how often a log gets a line.
        verb: what is done to a video, for a bar and for a log.
        line_at_end: a log gets a line at the end, however short it took.
        waiting: what happens before the first is done.
        detail: what else is told beside the rate; None tells what share of the time decoding was
            waited for.
    """

    def __init__(
        self,
        *,
        num_videos: int,
        num_stored: int = 0,
        shown: bool = True,
        seconds_between_lines: float = 30.0,
        verb: tuple[str, str] = ('evaluating', 'evaluated'),
        line_at_end: bool = True,
        waiting: str = 'decoding the first batch',
        detail: Callable[[], str] | None = None,
    ) -> None:
        self.num_videos = num_videos
        self.num_stored = num_stored
        self.done = 0
        self.wait_s = 0.0
        self._console = Console(stderr=True, quiet=not shown)
        self._seconds_between_lines = seconds_between_lines
        self._verb = verb
        self._line_at_end = line_at_end
        self._waiting, self._detail = waiting, detail or self._waited
        self._start = self._last_line = self._batch_start = time.perf_counter()
        self._views = ''
        self._ended = threading.Event()
        self._bar: Progress | None = None
        self._shown = shown
        if shown and self._console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn(verb[0]),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                _Live(self._said),
                console=self._console,
                transient=True,
                redirect_stdout=False,  # else what is printed meanwhile would go to stderr
            )
            self._task = self._bar.add_task('', total=num_stored + num_videos, completed=num_stored)

    def __enter__(self) -> VideoProgress:
        if self._bar is not None:
            self._bar.start()
        elif self._shown:
            threading.Thread(target=self._log_life, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
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

    def advance(self, num_videos: int, wait_s: float = 0.0) -> None:
        """Count finished videos and the time their decoding was waited for."""
        self.done += num_videos
        self.wait_s += wait_s
        now = time.perf_counter()
        self._views, self._batch_start = '', now
        if self._bar is not None:
            self._bar.update(self._task, completed=self.num_stored + self.done)
            return
        at_end = self._line_at_end and self.done == self.num_videos
        if now - self._last_line >= self._seconds_between_lines or at_end:
            self._print_line(now)

    def count_views(self, done: int, total: int) -> None:
        """Tell how much of the batch that is being scored is done; draws nothing itself.

        Args:
            done: views that were scored, of all variants.
            total: of the batch.
        """
        self._views = f'views {done} of {total}'

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away, so that something can be printed."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def _print_line(self, now: float) -> None:
        self._last_line = now
        self._console.print(
            f'{self._verb[1]} {self.num_stored + self.done}/{self.num_stored + self.num_videos} '
            f'videos, {self._said()}',
            highlight=False,
            soft_wrap=True,
        )

    def _log_life(self) -> None:
        """A line also where no batch is ready: the first one may take minutes."""
        while not self._ended.wait(self._seconds_between_lines):
            now = time.perf_counter()
            if now - self._last_line >= self._seconds_between_lines / 2:
                self._print_line(now)

    def _said(self) -> str:
        views = self._views
        if not self.done:
            waiting = self._waiting if not views else f'first batch: {views}'
            return f'{waiting}, {time_text(self.elapsed_s)} so far'
        rate = self.done / max(self.elapsed_s, 1e-9)
        left = (self.num_videos - self.done) / max(rate, 1e-9)
        parts = [rate_text(rate), self._detail()]
        if views and time.perf_counter() - self._batch_start > _LONG_BATCH_S:
            parts.append(views)
        return ', '.join(filter(None, [*parts, f'{time_text(left)} left']))

    def _waited(self) -> str:
        return f'{self.wait_share:.0%} waiting for decoding'
