"""What a scan finds out about videos, good and bad, and keeps in its manifest."""

from __future__ import annotations

import csv
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sta.datasets import decoding
from sta.datasets.decoding import DecordReader, PacketIndex, PyAVReader
from sta.datasets.preparation import scan
from sta.datasets.preparation.scan import (
    COLUMNS,
    Manifest,
    ManifestLine,
    ScanSettings,
    VideoScan,
    scan_videos,
)
from sta.errors import DataError, VideoError
from tests.datasets.movies import write_movie, write_rotated
from tests.datasets.numbered import NUM_FRAMES, Kind, make_video


def scanned(folder: Path, *paths: str, known: dict | None = None, **settings) -> list[scan.Scanned]:
    found = list(scan_videos(folder, paths, ScanSettings(**settings), known))
    return sorted(found, key=lambda one: paths.index(one.scan.path))


def only(folder: Path, path: str, **settings) -> VideoScan:
    [(found, _)] = scanned(folder, path, **settings)
    return found


@pytest.fixture
def opening(monkeypatch) -> Callable[[dict[str, Callable]], None]:
    """Replace what opening with a decoder does; decoding processes are forked and see it, too."""

    def replace(actions: dict[str, Callable]) -> None:
        true_open = scan.open_video

        def open_video(path: Path) -> object:
            actions.get(path.name, lambda: None)()
            return true_open(path)

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
        decoder='pyav',
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
    true_show, asked = PyAVReader._show, []
    monkeypatch.setattr(
        PyAVReader, '_show', lambda self, places: asked.extend(places) or true_show(self, places)
    )
    scan._decode(tmp_path, VideoScan('a.mp4'), ScanSettings())
    assert asked == [0, 10, 19]


def test_what_is_shown_is_counted_and_upright(tmp_path) -> None:
    """Of an AVI, whose packets do not say what is shown, and of a film that lies on its side."""
    make_video(Kind('mpeg4', '.avi', b_frames=2), tmp_path)
    write_rotated(tmp_path / 'turned.mp4', 90)
    found = only(tmp_path, 'video.avi')
    assert (found.frames, found.decoder, found.codec) == (NUM_FRAMES, 'pyav (counted)', 'mpeg4')
    found = only(tmp_path, 'turned.mp4')
    assert (found.width, found.height, found.decoder) == (64, 128, 'pyav')


def test_packets_that_announce_too_much_are_counted(tmp_path, monkeypatch) -> None:
    write_movie(tmp_path / 'a.mp4', num_frames=9)
    true_index = decoding.packet_index

    def too_many(*stream: object) -> PacketIndex:
        index = true_index(*stream)
        return PacketIndex((*index.times, index.times[-1] + 1), index.keys)

    monkeypatch.setattr(decoding, 'packet_index', too_many)
    found = only(tmp_path, 'a.mp4')
    assert (found.frames, found.decoder) == (9, 'pyav (counted)')


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


def test_the_reason_and_what_is_known_all_the_same(tmp_path, opening) -> None:
    write_movie(tmp_path / 'a.mp4')
    opening({'a.mp4': fail('bad disk')})
    found = only(tmp_path, 'a.mp4')
    assert found.broken and found.reason == 'bad disk'
    assert (found.width, found.codec, found.frames) == (64, 'h264', 0)


def test_a_hang_and_a_crash_are_reasons_and_harm_no_other(tmp_path, opening) -> None:
    for name in ('good1', 'hangs', 'crashes', 'good2'):
        write_movie(tmp_path / f'{name}.mp4')
    crash = lambda: os.kill(os.getpid(), signal.SIGSEGV)  # noqa: E731
    opening({'hangs.mp4': lambda: time.sleep(60), 'crashes.mp4': crash})
    names = ('good1.mp4', 'hangs.mp4', 'crashes.mp4', 'good2.mp4')
    found = [one.scan for one in scanned(tmp_path, *names, time_limit_s=0.3)]
    assert [one.decoder for one in found] == ['pyav', '', '', 'pyav']
    assert found[1].reason == 'it was given up after 0.3 s'
    assert found[2].reason == 'the decoder crashed (SIGSEGV)'


def test_foreign_errors_are_reasons(tmp_path, opening) -> None:
    def surprise() -> None:
        raise KeyError('first line\nsecond')

    write_movie(tmp_path / 'a.mp4')
    opening({'a.mp4': surprise})
    assert only(tmp_path, 'a.mp4').reason.startswith("KeyError: 'first line")


def children() -> set[str]:
    """Processes of this one, dead ones that nobody has asked about among them."""
    return set(Path(f'/proc/self/task/{os.getpid()}/children').read_text().split())


@pytest.mark.parametrize(('number', 'workers'), [(6, 1), (6, 2), (6, 9), (0, 2)])
def test_any_number_of_workers_finds_the_same(tmp_path, number, workers) -> None:
    names = [f'{i}.mp4' for i in range(number)]
    for i, name in enumerate(names):
        write_movie(tmp_path / name, num_frames=5 + i)
    before = children()
    found = scanned(tmp_path, *names, num_workers=workers)
    assert [one.scan.frames for one in found] == list(range(5, 5 + number))
    assert children() <= before


def test_a_slow_video_does_not_hold_up_the_others(tmp_path, opening) -> None:
    names = [f'{i}.mp4' for i in range(12)]
    write_movie(tmp_path / '0.mp4')
    for name in names[1:]:
        (tmp_path / name).write_bytes((tmp_path / '0.mp4').read_bytes())
    opening({'0.mp4': lambda: time.sleep(1)})
    found = [one.scan.path for one in scan_videos(tmp_path, names, ScanSettings(num_workers=2))]
    assert found[-1] == '0.mp4' and sorted(found) == sorted(names)


def test_videos_are_taken_as_they_are_needed(tmp_path) -> None:
    taken = []
    paths = (taken.append(i) or f'{i}.mp4' for i in range(100))
    found = scan_videos(tmp_path, paths, ScanSettings(num_workers=2))
    next(found)
    assert len(taken) <= 4
    found.close()


def test_closing_ends_the_processes_at_once(tmp_path, opening) -> None:
    for name in ('a', 'b', 'c'):
        write_movie(tmp_path / f'{name}.mp4')
    opening({'b.mp4': lambda: time.sleep(60), 'c.mp4': lambda: time.sleep(60)})
    before = children()
    found = scan_videos(tmp_path, ('a.mp4', 'b.mp4', 'c.mp4'), ScanSettings(num_workers=3))
    assert next(found).scan.path == 'a.mp4'
    start = time.perf_counter()
    found.close()
    assert time.perf_counter() - start < 5
    assert children() <= before


def test_processes_that_die_whatever_they_look_at_end_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(scan, 'read_header', lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match=r'killed \(is memory short\?\), .* fewer --workers'):
        list(scan_videos(tmp_path, map(str, range(8)), ScanSettings()))


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

    @pytest.mark.parametrize(
        'earlier', [dict(decoder='decord'), dict(decoder='pyav', reason='decord cannot decode it')]
    )
    def test_one_of_a_version_that_trusted_decord(self, tmp_path, known, earlier) -> None:
        assert not self.reused(tmp_path, known._replace(**earlier))

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
def test_impossible_numbers(settings, said) -> None:
    with pytest.raises(DataError, match=said):
        ScanSettings(**settings)


def test_decord_decodes_all_a_few_at_a_time(tmp_path, monkeypatch) -> None:
    video = DecordReader(write_movie(tmp_path / 'a.mp4', num_frames=21))
    asked = []
    monkeypatch.setattr(video, 'frames', lambda places: asked.append(list(places)))
    video.decode_all()
    assert [len(places) for places in asked] == [8, 8, 5]
    assert sum(asked, []) == list(range(21))


def test_pyav_decodes_all(tmp_path, monkeypatch) -> None:
    video = PyAVReader(write_movie(tmp_path / 'a.mp4', num_frames=21))
    true_frames, seen = video._decoded, []
    monkeypatch.setattr(
        video, '_decoded', lambda wanted: (seen.append(f) or f for f in true_frames(wanted))
    )
    video.decode_all()
    assert [place for place, _ in seen] == list(range(21))


def test_pyav_refuses_damaged_frames(tmp_path, monkeypatch) -> None:
    video = PyAVReader(write_movie(tmp_path / 'a.mp4', num_frames=5))
    damaged = SimpleNamespace(is_corrupt=True)
    monkeypatch.setattr(video, '_decoded', lambda wanted: iter([(0, damaged)]))
    with pytest.raises(VideoError, match='frame 0 is damaged'):
        video.decode_all()
    with pytest.raises(VideoError, match='frame 0 is damaged'):
        video.frames([0])


GOOD = VideoScan('a, b/"c".mp4', 12, 1700000000.1234567, 30, 64, 48, 29.97, 'h264', 'pyav', '', 3)
BROKEN = VideoScan('größe.mp4', 5, 2.5, reason='decord: no, "never"; pyav: neither')
LINES = (ManifestLine(3, 'arm wrestling', GOOD), ManifestLine(0, 'it, "quoted"', BROKEN))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / 'manifest.csv'


def test_columns() -> None:
    assert ','.join(COLUMNS) == (
        'path,label,class,bytes,mtime,frames,width,height,fps,codec,decoder,reason,decoded'
    )


def test_there_is_none_yet(path) -> None:
    assert Manifest(path).known == {} and not path.exists()


def test_what_is_written_is_read(path) -> None:
    Manifest(path).replace(LINES)
    assert Manifest(path).known == {GOOD.path: GOOD, BROKEN.path: BROKEN}
    with open(path, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    assert rows[0]['class'] == 'arm wrestling' and rows[1]['reason'] == BROKEN.reason
    assert [path.name for path in path.parent.iterdir()] == ['manifest.csv']


def test_every_line_is_on_disk_at_once(path) -> None:
    with Manifest(path).appending() as append:
        for number, line in enumerate(LINES, 1):
            append(line)
            assert len(Manifest(path).known) == number


def test_appending_keeps_what_was_there_and_the_later_line_holds(path) -> None:
    Manifest(path).replace(LINES)
    changed = GOOD._replace(bytes=99)
    with Manifest(path).appending() as append:
        append(ManifestLine(3, 'arm wrestling', changed))
    assert Manifest(path).known == {GOOD.path: changed, BROKEN.path: BROKEN}


@pytest.mark.parametrize('cut', [1, 2, 10, 30, 40, 60])
def test_a_line_that_was_cut_off_is_passed_over_and_mended(path, cut) -> None:
    Manifest(path).replace(LINES)
    path.write_bytes(path.read_bytes()[:-cut])
    known = Manifest(path).known
    assert known[GOOD.path] == GOOD
    assert known.get(BROKEN.path) in (None, BROKEN)
    with Manifest(path).appending() as append:
        append(LINES[1])
    assert Manifest(path).known == {GOOD.path: GOOD, BROKEN.path: BROKEN}


def test_a_damaged_number_is_scanned_again(path) -> None:
    Manifest(path).replace(LINES)
    path.write_text(path.read_text().replace(',30,64,', ',3x0,64,'))
    assert list(Manifest(path).known) == [BROKEN.path]


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'path,label\na.mp4,1\n', 'of another kind.*path,label,class,bytes'),
        (b'\xff\xfe\x00', 'cannot be read'),
    ],
)
def test_another_file_of_that_name_is_refused(path, content, said) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        Manifest(path)
    assert path.read_bytes() == content
