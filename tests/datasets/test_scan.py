"""What a scan finds out about videos, good and bad."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sta.datasets import scan
from sta.datasets.decoding import DecordReader, PyAVReader
from sta.datasets.errors import DataError
from sta.datasets.scan import VideoScan, scan_videos
from sta.datasets.video_file import VideoError
from tests.datasets.movies import write_movie


def scanned(folder: Path, *paths: str, **settings) -> list[scan.Scanned]:
    found = list(scan_videos(folder, paths, **settings))
    return sorted(found, key=lambda one: paths.index(one.scan.path))


def only(folder: Path, path: str, **settings) -> VideoScan:
    [(found, _)] = scanned(folder, path, **settings)
    return found


@pytest.fixture
def opening(monkeypatch) -> Callable[[dict[str, Callable]], None]:
    """Replace what opening with a decoder does; workers are forked and see it, too."""

    def replace(actions: dict[str, Callable]) -> None:
        true_open = scan.open_video

        def open_video(path: Path, *, decoder: str) -> object:
            actions.get(decoder, actions.get(path.name, lambda: None))()
            return true_open(path, decoder=decoder)

        monkeypatch.setattr(scan, 'open_video', open_video)

    return replace


def test_facts_of_a_good_video(tmp_path) -> None:
    file = write_movie(tmp_path / 'a b' / 'c.mp4', num_frames=13, width=96, height=64, rate=5)
    os.utime(file, (1, 1234.5))
    assert only(tmp_path, 'a b/c.mp4') == VideoScan(
        path='a b/c.mp4',
        bytes=file.stat().st_size,
        mtime=1234.5,
        frames=13,
        width=96,
        height=64,
        fps=5.0,
        codec='h264',
        decoder='decord',
        reason='',
        decoded=3,
    )


@pytest.mark.parametrize(('frames', 'decoded'), [(1, 1), (2, 2), (3, 3), (20, 3)])
def test_first_middle_and_last_frame_are_decoded(tmp_path, frames, decoded) -> None:
    write_movie(tmp_path / 'a.mp4', num_frames=frames)
    assert only(tmp_path, 'a.mp4').decoded == decoded
    assert only(tmp_path, 'a.mp4', full_decode=True).decoded == frames


def test_which_frames_are_decoded(monkeypatch, tmp_path) -> None:
    write_movie(tmp_path / 'a.mp4', num_frames=20)
    asked = []
    monkeypatch.setattr(DecordReader, 'frames', lambda self, places: asked.extend(places))
    scan._decode(tmp_path / 'a.mp4', 'decord', False)
    assert asked == [0, 10, 19]
    asked.clear()
    scan._decode(tmp_path / 'a.mp4', 'decord', True)
    assert asked == list(range(20))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'it is empty'),
        (b'no video at all\n' * 40, 'it is no video|cannot be decoded'),
        (None, 'there is no such file'),
    ],
)
def test_what_is_no_video(tmp_path, content, reason) -> None:
    if content is not None:
        (tmp_path / 'a.mp4').write_bytes(content)
    found = only(tmp_path, 'a.mp4')
    assert found.broken and found.decoder == '' and found.decoded == 0
    assert found.bytes == len(content or b'')
    assert re.search(reason, found.reason)


def test_a_truncated_video(tmp_path) -> None:
    file = write_movie(tmp_path / 'a.mp4', num_frames=30)
    file.write_bytes(file.read_bytes()[:-200])
    found = only(tmp_path, 'a.mp4')
    assert found.broken and found.reason.startswith('it is truncated')
    assert found.bytes == file.stat().st_size and found.mtime == file.stat().st_mtime


def fail(reason: str) -> Callable[[], None]:
    def failing() -> None:
        raise VideoError(reason)

    return failing


def test_pyav_takes_over_where_decord_fails(tmp_path, opening) -> None:
    write_movie(tmp_path / 'a.mp4', num_frames=9)
    opening({'decord': fail('decord will not')})
    found = only(tmp_path, 'a.mp4')
    assert not found.broken and (found.decoder, found.frames) == ('pyav', 9)
    assert found.reason == 'decord will not'


def test_the_reasons_of_both_decoders(tmp_path, opening) -> None:
    write_movie(tmp_path / 'a.mp4')
    opening({'decord': fail('decord will not'), 'pyav': fail('nor will PyAV')})
    found = only(tmp_path, 'a.mp4')
    assert found.broken and found.reason == 'decord will not; nor will PyAV'
    assert (found.width, found.codec, found.frames) == (64, 'h264', 0)


def test_one_reason_stands_once(tmp_path, opening) -> None:
    write_movie(tmp_path / 'a.mp4')
    opening({'decord': fail('bad disk'), 'pyav': fail('bad disk')})
    assert only(tmp_path, 'a.mp4').reason == 'bad disk'


def test_a_hang_and_a_crash_are_reasons_and_harm_no_other(tmp_path, opening) -> None:
    for name in ('good1', 'hangs', 'crashes', 'good2'):
        write_movie(tmp_path / f'{name}.mp4')
    crash = lambda: os.kill(os.getpid(), signal.SIGSEGV)  # noqa: E731
    opening({'hangs.mp4': lambda: time.sleep(60), 'crashes.mp4': crash})
    names = ('good1.mp4', 'hangs.mp4', 'crashes.mp4', 'good2.mp4')
    found = [one.scan for one in scanned(tmp_path, *names, time_limit_s=0.3)]
    assert [one.decoder for one in found] == ['decord', '', '', 'decord']
    assert found[1].reason == 'it was given up after 0.3 s'
    assert found[2].reason == 'the decoder crashed (SIGSEGV)'


def test_foreign_errors_are_reasons(tmp_path, opening) -> None:
    def surprise() -> None:
        raise KeyError('first line\nsecond')

    write_movie(tmp_path / 'a.mp4')
    opening({'decord': surprise, 'pyav': surprise})
    assert only(tmp_path, 'a.mp4').reason.startswith("KeyError: 'first line")


@pytest.mark.parametrize('workers', [1, 2, 5])
def test_any_number_of_workers_finds_the_same(tmp_path, workers) -> None:
    names = [f'{i}.mp4' for i in range(6)]
    for i, name in enumerate(names):
        write_movie(tmp_path / name, num_frames=5 + i)
    found = scanned(tmp_path, *names, num_workers=workers)
    assert [one.scan.frames for one in found] == [5, 6, 7, 8, 9, 10]


class TestKnownScans:
    """A scan of an earlier time holds as long as the file is the same."""

    @pytest.fixture
    def known(self, tmp_path) -> VideoScan:
        write_movie(tmp_path / 'a.mp4', num_frames=10)
        return only(tmp_path, 'a.mp4')

    def reused(self, folder: Path, known: VideoScan, **settings) -> bool:
        [one] = scanned(folder, 'a.mp4', known={'a.mp4': known}, **settings)
        assert one.scan.frames in (7, 10) and not one.scan.broken
        return one.reused

    def test_unchanged(self, tmp_path, known) -> None:
        assert self.reused(tmp_path, known)

    def test_of_another_video(self, tmp_path, known) -> None:
        [one] = scanned(tmp_path, 'a.mp4', known={'b.mp4': known})
        assert not one.reused

    def test_another_time(self, tmp_path, known) -> None:
        os.utime(tmp_path / 'a.mp4', (1, known.mtime + 1))
        assert not self.reused(tmp_path, known)

    def test_another_size(self, tmp_path, known) -> None:
        write_movie(tmp_path / 'a.mp4', num_frames=7)
        os.utime(tmp_path / 'a.mp4', (known.mtime, known.mtime))
        assert not self.reused(tmp_path, known)

    def test_a_broken_one_gets_another_chance(self, tmp_path, known) -> None:
        assert not self.reused(tmp_path, known._replace(decoder='', reason='too slow'))

    def test_all_frames_need_more_than_three(self, tmp_path, known) -> None:
        assert not self.reused(tmp_path, known, full_decode=True)
        everything = only(tmp_path, 'a.mp4', full_decode=True)
        assert self.reused(tmp_path, everything, full_decode=True)
        assert self.reused(tmp_path, everything)


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        ({'num_workers': 0}, 'workers must be at least 1, got 0'),
        ({'time_limit_s': 0.0}, 'positive number of seconds, got 0'),
        ({'time_limit_s': float('nan')}, 'positive number of seconds, got nan'),
    ],
)
def test_impossible_numbers(tmp_path, settings, said) -> None:
    with pytest.raises(DataError, match=said):
        scan_videos(tmp_path, [], **settings)


def test_decord_decodes_all_a_few_at_a_time(tmp_path, monkeypatch) -> None:
    video = DecordReader(write_movie(tmp_path / 'a.mp4', num_frames=21))
    asked = []
    monkeypatch.setattr(video, 'frames', lambda places: asked.append(list(places)))
    video.decode_all()
    assert [len(places) for places in asked] == [8, 8, 5]
    assert sum(asked, []) == list(range(21))


def test_pyav_decodes_all(tmp_path, monkeypatch) -> None:
    video = PyAVReader(write_movie(tmp_path / 'a.mp4', num_frames=21))
    true_frames, seen = video._decoded(), []
    monkeypatch.setattr(video, '_decoded', lambda: (seen.append(f) or f for f in true_frames))
    video.decode_all()
    assert len(seen) == 21


def test_pyav_misses_frames_that_are_not_there(tmp_path) -> None:
    video = PyAVReader(write_movie(tmp_path / 'a.mp4', num_frames=5))
    video._length = 6
    with pytest.raises(VideoError, match='frame 5 of 6 cannot be decoded'):
        video.decode_all()


def test_pyav_refuses_damaged_frames(tmp_path, monkeypatch) -> None:
    class Damaged:
        is_corrupt = True

    video = PyAVReader(write_movie(tmp_path / 'a.mp4', num_frames=5))
    monkeypatch.setattr(video, '_decoded', lambda: iter([Damaged()]))
    with pytest.raises(VideoError, match='frame 0 is damaged'):
        video.decode_all()
