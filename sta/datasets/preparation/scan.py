"""Look into many videos, in processes: frames, size, codec, and whether they can be decoded."""

from __future__ import annotations

import csv
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sta.atomic import naming, replacing
from sta.datasets.annotations import Annotation
from sta.datasets.decoding import (
    MiscountError,
    VideoFacts,
    VideoReader,
    check_file,
    open_video,
    read_header,
)
from sta.datasets.guard import Guard, GuardError, how_it_ended
from sta.errors import DataError, DeadProcessError, VideoError


class VideoScan(NamedTuple):
    """What is known of a video.

    Attributes:
        path: relative to the folder of the videos, or absolute.
        bytes: size of the file.
        mtime: when it was changed, in seconds since 1970.
        frames: how many a player shows; 0 where unknown.
        width, height: of an upright frame in pixels; 0 where unknown.
        fps: average frames per second; 0 where unknown.
        codec: FFmpeg's name.
        decoder: 'pyav', or 'pyav (counted)' where all frames had to be decoded to count them; ''
            where it cannot be decoded.
        reason: why it cannot.
        decoded: frames that were decoded to find out.
    """

    path: str
    bytes: int = 0
    mtime: float = 0.0
    frames: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    codec: str = ''
    decoder: str = ''
    reason: str = ''
    decoded: int = 0

    @property
    def broken(self) -> bool:
        """It cannot be decoded."""
        return not self.decoder


class Scanned(NamedTuple):
    """A scan, and whether it is one of an earlier time."""

    scan: VideoScan
    reused: bool


def scan_videos(
    folder: str | os.PathLike,
    paths: Iterable[str],
    *,
    num_workers: int = 1,
    full_decode: bool = False,
    time_limit_s: float = 60.0,
    known: Mapping[str, VideoScan] | None = None,
) -> Iterator[Scanned]:
    """Scan videos in parallel, in the order in which they are done.

    Args:
        folder: what relative paths are relative to.
        paths: the videos.
        num_workers: processes; each decodes in one more, which may hang or crash.
        full_decode: decode every frame; else the first, the middle and the last.
        time_limit_s: seconds decoding a video may take.
        known: scans of an earlier time by path; one is used again if it found the video good, as
            thoroughly, and size and time of the file are still the same.

    Raises:
        DataError: a number out of range, or a worker process died.
    """
    check_settings(num_workers, time_limit_s)
    scanner = _Scanner(Path(folder), full_decode=full_decode, time_limit_s=time_limit_s)
    jobs = ((path, (known or {}).get(path)) for path in paths)
    return in_processes(scanner, jobs, num_workers=num_workers)


def check_settings(num_workers: int, time_limit_s: float) -> None:
    """Refuse numbers with which nothing can be scanned.

    Raises:
        DataError: names the number.
    """
    if num_workers < 1:
        raise DataError(f'the number of workers must be at least 1, got {num_workers}')
    if not 0 < time_limit_s < float('inf'):
        raise DataError(f'the time limit must be a positive number of seconds, got {time_limit_s}')


class _Scanner:
    """Scans one video after the other, in a worker process."""

    def __init__(self, folder: Path, *, full_decode: bool, time_limit_s: float) -> None:
        self._folder, self._full_decode = folder, full_decode
        self._guard = Guard(_guarded, time_limit_s=time_limit_s)

    def __call__(self, job: tuple[str, VideoScan | None]) -> Scanned:
        path, known = job
        file = self._folder / path
        scan = _from_disk(path, file)
        if known is not None and self._still_holds(known, scan):
            return Scanned(known, reused=True)
        try:
            check_file(file)
        except VideoError as error:
            return Scanned(scan._replace(reason=str(error)), reused=False)
        return Scanned(self._scan(file, scan), reused=False)

    def _still_holds(self, known: VideoScan, scan: VideoScan) -> bool:
        unchanged = (known.bytes, known.mtime) == (scan.bytes, scan.mtime)
        # A broken one is looked at again: it may have been the disk, or too short a time limit; so
        # is one of a version that trusted decord's count, and where that failed, the packets.
        sure = known.decoder.startswith('pyav') and not known.reason
        return unchanged and sure and known.decoded >= self._num_wanted(known.frames)

    def _num_wanted(self, num_frames: int) -> int:
        return num_frames if self._full_decode else len(_samples(num_frames))

    def _scan(self, file: Path, scan: VideoScan) -> VideoScan:
        facts = self._guarded('header', file)
        if isinstance(facts, str):
            return scan._replace(reason=facts)
        scan = scan._replace(**facts._asdict())
        decoded = self._guarded('decode', file, self._full_decode)
        if isinstance(decoded, str):
            return scan._replace(reason=decoded)
        return scan._replace(**decoded, decoded=self._num_wanted(decoded['frames']))

    def _guarded(self, *call: object) -> VideoFacts | dict[str, Any] | str:
        """What was found, or the reason why nothing was, as text."""
        try:
            return self._guard(*call)
        except GuardError as error:
            return str(error)


def _from_disk(path: str, file: Path) -> VideoScan:
    try:
        status = os.stat(file)
    except OSError:  # check_file says why
        return VideoScan(path)
    return VideoScan(path, bytes=status.st_size, mtime=status.st_mtime)


def _samples(num_frames: int) -> list[int]:
    """First, middle and last frame, each once."""
    return sorted({0, num_frames // 2, num_frames - 1})


def _guarded(what: str, file: Path, *more: object) -> VideoFacts | dict[str, Any] | str:
    try:
        return read_header(file) if what == 'header' else _decode(file, *more)
    except VideoError as error:
        return str(error)
    except Exception as error:  # damaged files surprise libraries in any way
        lines = str(error).strip().splitlines() or ['']
        return f'{type(error).__name__}: {lines[0][:200]}'


def _decode(file: Path, full_decode: bool) -> dict[str, Any]:
    """Fields of a scan, after decoding all frames or some."""
    reader = open_video(file)
    try:
        height, width = _look(reader, full_decode)
    except MiscountError:  # the reader has counted: its length is right now
        height, width = _look(reader, full_decode)
    return dict(frames=len(reader), width=width, height=height, decoder=reader.name)


def _look(reader: VideoReader, full_decode: bool) -> tuple[int, int]:
    """Height and width of an upright frame."""
    if full_decode:
        reader.decode_all()
    samples = [0] if full_decode else _samples(len(reader))
    return reader.frames(samples).shape[1:3]


def in_processes(
    work: Callable[[Any], Any], jobs: Iterable[Any], *, num_workers: int
) -> Iterator[Any]:
    """Answers of ``work`` to all jobs, in the order in which they are ready.

    Neither a pool of the standard library nor torch's loader will do: the former lets Ctrl-C wait
    for a video that hangs, the latter lets all others wait for it.

    Args:
        work: called with one job in a worker process; must handle its own exceptions but for
            DataError, which ends all.
        jobs: what can be pickled.
        num_workers: processes.

    Raises:
        DataError: a worker process died, or raised it.
    """
    jobs = iter(jobs)
    busy: dict[Connection, BaseProcess] = {}
    try:
        for job in islice(jobs, num_workers):
            channel, process = _start(work, busy)
            busy[channel] = process
            channel.send((job,))
        while busy:
            for channel in wait(list(busy)):
                answer = _answer(channel, busy[channel])
                job = next(jobs, _NO_MORE)
                if job is _NO_MORE:
                    channel.send(())
                    busy.pop(channel).join()
                else:
                    channel.send((job,))
                yield answer
    except (DeadProcessError, ConnectionError) as error:
        reason = error if isinstance(error, DeadProcessError) else 'a worker process died'
        raise DataError(
            f'{reason}; run the same command again with fewer --workers or more memory'
        ) from None
    finally:
        for process in busy.values():
            process.terminate()
        for process in busy.values():
            process.join()


_NO_MORE = object()


def _answer(channel: Connection, process: BaseProcess) -> Any:
    try:
        answer = channel.recv()
    except (EOFError, ConnectionError):
        process.join()
        how = how_it_ended(process.exitcode)
        raise DeadProcessError(f'a worker process died: it {how}') from None
    if isinstance(answer, DataError):
        raise answer
    return answer


def _start(
    work: Callable[[Any], Any], others: Iterable[Connection]
) -> tuple[Connection, BaseProcess]:
    """A worker process and the channel to it."""
    # Forked: a spawned process would import everything anew, for seconds.
    context = get_context('fork' if hasattr(os, 'fork') else None)
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, [ours, *others]), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _serve(channel: Connection, work: Callable[[Any], Any], others: list[Connection]) -> None:
    # Forked copies of the parent's ends; with them open nobody would see that the parent is gone.
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    faulthandler.disable()  # and so is a crash
    try:
        while job := channel.recv():
            try:
                answer = work(*job)
            except DataError as error:
                answer = error
            channel.send(answer)
    except (EOFError, ConnectionError):  # the parent is gone
        return


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


_SCAN_COLUMNS = VideoScan._fields[1:]
COLUMNS = ('path', 'label', 'class', *_SCAN_COLUMNS)

# Under a locale that is not UTF-8, names of files hold their bytes as surrogates.
_UTF8 = dict(encoding='utf-8', errors='surrogateescape', newline='')


class ManifestLine(NamedTuple):
    """A video, its class and what the scan found."""

    label: int
    class_name: str
    scan: VideoScan


class Manifest:
    """A csv file with the columns of :data:`COLUMNS` (see :class:`VideoScan`).

    Lines are appended and flushed one by one: what an interrupted scan has found is not lost. Of
    two lines for one path the later holds; one that a crash has cut off is passed over.

    Args:
        path: the file, which need not be there.

    Raises:
        DataError: it is there and is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = {line.scan.path: line for line in _read(path)}

    @property
    def known(self) -> dict[str, VideoScan]:
        """Scans of earlier runs by path."""
        return {path: line.scan for path, line in self._lines.items()}

    @contextmanager
    def appending(self) -> Iterator[_Appender]:
        """Add lines; the file is first written anew, without what a crash has cut off."""
        self.replace(self._lines.values())
        with naming(self.path), open(self.path, 'a', **_UTF8) as file:
            yield _Appender(file)

    def replace(self, lines: Iterable[ManifestLine]) -> None:
        """Write these lines and no others; a reader finds the old file or the new one."""
        lines = list(lines)
        with replacing(self.path) as temporary, open(temporary, 'w', **_UTF8) as file:
            csv.writer(file, lineterminator='\n').writerow(COLUMNS)
            for line in lines:
                _Appender(file, flush=False).append(line)


class _Appender:
    def __init__(self, file: TextIO, *, flush: bool = True) -> None:
        self._file, self._flush = file, flush
        self._writer = csv.writer(file, lineterminator='\n')

    def append(self, line: ManifestLine) -> None:
        """Write a line."""
        scan = line.scan
        self._writer.writerow([scan.path, line.label, line.class_name, *scan[1:]])
        if self._flush:
            self._file.flush()


def _read(path: Path) -> Iterator[ManifestLine]:
    if not path.exists():
        return
    try:
        with open(path, encoding='utf-8', newline='') as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DataError(f'manifest {path} cannot be read: {reason}; remove it') from None
    if rows and tuple(rows[0]) != COLUMNS:
        raise DataError(
            f'manifest {path} is of another kind: its first line is not {",".join(COLUMNS)}; '
            f'remove it or choose another --out'
        )
    for row in rows[1:]:
        line = _parsed(row)
        if line is not None:
            yield line


def _parsed(row: list[str]) -> ManifestLine | None:
    if len(row) != len(COLUMNS):
        return None
    path, label, class_name, *cells = row
    kinds = [type(VideoScan._field_defaults[column]) for column in _SCAN_COLUMNS]
    try:
        scan = VideoScan(path, *(kind(cell) for kind, cell in zip(kinds, cells)))
        return ManifestLine(int(label), class_name, scan)
    except ValueError:
        return None


@dataclass(frozen=True)
class ScanSettings:
    """How to scan.

    Attributes:
        num_workers, full_decode, time_limit_s: see :func:`scan_videos`.

    Raises:
        DataError: a number out of range.
    """

    num_workers: int = 1
    full_decode: bool = False
    time_limit_s: float = 60.0

    def __post_init__(self) -> None:
        check_settings(self.num_workers, self.time_limit_s)


@dataclass(frozen=True)
class ScanResult:
    """What a scan found.

    Attributes:
        videos: by path, in the order of the list.
        num_reused: how many an earlier run had found.
        seconds: the time it took.
    """

    videos: Mapping[str, VideoScan] = field(default_factory=dict)
    num_reused: int = 0
    seconds: float = 0.0

    @property
    def broken(self) -> list[VideoScan]:
        """Videos that no decoder can decode."""
        return [scan for scan in self.videos.values() if scan.broken]


def scan_into_manifest(
    videos: Sequence[Annotation],
    class_names: Sequence[str],
    *,
    folder: Path,
    manifest_file: Path,
    settings: ScanSettings,
) -> ScanResult:
    """Scan videos; the manifest grows line by line and holds them in their order at the end.

    Args:
        videos: each path once.
        class_names: by label.
        folder: what the paths are relative to.
        manifest_file: read first, what it knows is not scanned again.
        settings: how to scan.

    Raises:
        DataError: the manifest is something else, or a worker process died.
    """
    manifest = Manifest(manifest_file)
    labels = dict(videos)
    lines: dict[str, ManifestLine] = {}
    num_reused = 0
    scanned = scan_videos(
        folder,
        labels,
        num_workers=min(settings.num_workers, len(labels)),
        full_decode=settings.full_decode,
        time_limit_s=settings.time_limit_s,
        known=manifest.known,
    )
    progress = ScanProgress(num_videos=len(labels))
    try:
        # Closed at once on an interrupt: the workers end with it.
        with closing(scanned), manifest.appending() as appended, progress:
            for scan, reused in scanned:
                label = labels[scan.path]
                line = lines[scan.path] = ManifestLine(label, class_names[label], scan)
                num_reused += reused
                if not reused:
                    appended.append(line)
                progress.advance(broken=scan.broken)
    except KeyboardInterrupt:
        done = f'{len(lines)} of {len(labels)} videos are in {manifest_file}'
        print(f'{done}: the same command goes on from here', file=sys.stderr)
        raise
    manifest.replace(lines[path] for path in labels)
    found = {path: lines[path].scan for path in labels}
    return ScanResult(found, num_reused, progress.elapsed_s)
