"""The progress of a scan: a line now and then in a log, a bar on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sta.datasets.preparation import scan as scan_progress
from sta.datasets.preparation.scan import ScanProgress


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(scan_progress.time, 'perf_counter', lambda: now[0])
    return now


def test_a_line_every_half_minute(clock, capsys) -> None:
    with ScanProgress(num_videos=300) as progress:
        for i in range(61):
            clock[0] += 1.0
            progress.advance(broken=i % 20 == 0)
    assert capsys.readouterr().err.splitlines() == [
        'scanned 30/300 videos, 1.0 videos/s, 2 broken, 270 s left',
        'scanned 60/300 videos, 1.0 videos/s, 3 broken, 240 s left',
    ]
    assert (progress.done, progress.broken, progress.elapsed_s) == (61, 4, 61.0)


def test_a_bar_that_appears_with_the_first_video(monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        scan_progress, 'Console', lambda stderr: Console(file=screen, force_terminal=True)
    )
    with ScanProgress(num_videos=2) as progress:
        assert screen.getvalue() == ''
        progress.advance(broken=False)
        progress.advance(broken=True)
    assert 'scanning' in screen.getvalue() and '2/2' in screen.getvalue()
    assert '1 broken' in screen.getvalue()
