"""The progress of an evaluation or a scan: lines in a log, a bar on a terminal."""

from __future__ import annotations

import re
import time

import pytest

from sta.datasets import progress
from sta.datasets.progress import VideoProgress


class Clock:
    """time.perf_counter under control."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, 'perf_counter', clock)
    return clock


def test_a_log_gets_a_plain_line_every_half_minute_and_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture
) -> None:
    with VideoProgress(num_videos=40) as shown:
        clock.now += 10
        shown.advance(4, wait_s=2.5)
        assert capsys.readouterr().err == ''
        clock.now += 20
        shown.advance(8, wait_s=3.5)
        # 12 videos in 30 s, 6 s of it waiting; the 28 left take 70 s
        assert capsys.readouterr().err == (
            'evaluated 12/40 videos, 0.4 videos/s, 20% waiting for decoding, 70 s left\n'
        )
        clock.now += 10
        shown.advance(20, wait_s=0.0)
        assert capsys.readouterr().err == ''
        clock.now += 10
        shown.advance(8, wait_s=0.0)
        assert capsys.readouterr().err == (
            'evaluated 40/40 videos, 0.8 videos/s, 12% waiting for decoding, 0 s left\n'
        )
    assert capsys.readouterr() == ('', '')


def test_other_work_tells_something_else(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    broken = []
    with VideoProgress(
        num_videos=300,
        verb=('scanning', 'scanned'),
        line_at_end=False,
        detail=lambda: f'{len(broken)} broken',
    ) as shown:
        for i in range(61):
            clock.now += 1
            broken += [i] if i % 20 == 0 else []
            shown.advance(1)
    assert capsys.readouterr().err.splitlines() == [
        'scanned 30/300 videos, 1.0 videos/s, 2 broken, 270 s left',
        'scanned 60/300 videos, 1.0 videos/s, 3 broken, 240 s left',
    ]
    assert (shown.done, shown.elapsed_s) == (61, 61.0)


def test_the_share_of_waiting_is_of_the_whole_time(clock: Clock) -> None:
    shown = VideoProgress(num_videos=2, shown=False)
    clock.now += 4
    shown.advance(1, wait_s=3.0)
    assert (shown.elapsed_s, shown.wait_share, shown.done) == (4.0, 0.75, 1)


def test_other_processes_keep_silent(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    with VideoProgress(num_videos=1, shown=False) as shown:
        clock.now += 60
        shown.advance(1, wait_s=0.0)
    assert capsys.readouterr() == ('', '')


def test_lines_are_not_broken_in_narrow_logs(
    clock: Clock, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', '40')
    with VideoProgress(num_videos=1) as shown:
        clock.now += 2
        shown.advance(1, wait_s=1.0)
    assert capsys.readouterr().err.count('\n') == 1


def test_slow_videos_are_told_in_seconds_and_long_waits_in_minutes(
    clock: Clock, capsys: pytest.CaptureFixture
) -> None:
    with VideoProgress(num_videos=100) as shown:
        clock.now += 60
        shown.advance(5, wait_s=0.0)  # 0.083 videos/s
    assert capsys.readouterr().err == (
        'evaluated 5/100 videos, 12 s/video, 0% waiting for decoding, 19 min left\n'
    )


def test_what_was_stored_counts_as_done_and_not_as_speed(
    clock: Clock, capsys: pytest.CaptureFixture
) -> None:
    with VideoProgress(num_videos=20, num_stored=80) as shown:
        clock.now += 30
        shown.advance(5, wait_s=0.0)
    assert capsys.readouterr().err == (
        'evaluated 85/100 videos, 0.2 videos/s, 0% waiting for decoding, 90 s left\n'
    )


def test_a_log_says_that_the_first_batch_is_being_worked_on(
    capsys: pytest.CaptureFixture,
) -> None:
    with VideoProgress(num_videos=2, seconds_between_lines=0.2) as shown:
        time.sleep(0.5)
        shown.count_views(3, 15)
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r'evaluated 0/2 videos, decoding the first batch, \d s so far', lines[0])
    assert lines[-1].startswith('evaluated 0/2 videos, first batch: views 3 of 15, ')
    assert 3 <= len(lines) <= 5


def test_a_long_batch_shows_its_views_on_a_terminal_and_prints_go_where_they_should(
    clock: Clock, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '120')
    with VideoProgress(num_videos=4) as shown:
        shown._bar.refresh()
        assert 'decoding the first batch' in capsys.readouterr().err
        clock.now += 9
        shown.count_views(16, 45)
        shown._bar.refresh()
        assert 'first batch: views 16 of 45, 9 s so far' in capsys.readouterr().err
        shown.advance(1, 0.0)
        shown.count_views(16, 45)
        shown._bar.refresh()
        assert 'views 16' not in capsys.readouterr().err  # not for short batches
        clock.now += 4
        shown._bar.refresh()
        assert 'views 16 of 45' in capsys.readouterr().err
        with shown.hidden():
            print('a table')
        assert capsys.readouterr().out == 'a table\n'


def test_a_terminal_gets_a_bar_that_goes_away(
    clock: Clock, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FORCE_COLOR', '1')  # rich takes the stream for a terminal then
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '100')
    with VideoProgress(num_videos=4) as shown:
        clock.now += 2
        shown.advance(2, wait_s=0.5)
        shown._bar.refresh()
        drawn = capsys.readouterr().err
    assert '2/4' in drawn and '1.0 videos/s' in drawn and '25% waiting for decoding' in drawn
    assert '\x1b[2K' in capsys.readouterr().err  # the line is erased
