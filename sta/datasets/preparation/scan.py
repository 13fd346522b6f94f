"""Look into many videos, in processes: frames, size, codec, and whether they can be decoded.

What is found grows into a manifest: one csv line a video, written as they come, read by the next
scan.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from sta.atomic import naming, replacing
from sta.errors import DataError, DeadProcessError

from ..annotations import Annotation
from ..decoding import MiscountError, VideoReader, open_video, read_header, reason_of
from ..guard import Guard, GuardError, answered
from ..progress import VideoProgress


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
    reused: bool = False


@dataclass(frozen=True)
class ScanSettings:
    """How to scan.

    Attributes:
        num_workers: videos that are decoded at a time, each in a process that may hang or crash.
        full_decode: decode every frame; else the first, the middle and the last.
        time_limit_s: seconds decoding a video may take.

    Raises:
        DataError: a number out of range.
    """

    num_workers: int = 1
    full_decode: bool = False
    time_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise DataError(f'the number of workers must be at least 1, got {self.num_workers}')
        if not 0 < self.time_limit_s < float('inf'):
            raise DataError(
                f'the time limit must be a positive number of seconds, got {self.time_limit_s}'
            )

    def num_wanted(self, num_frames: int) -> int:
        """How many frames of a video are decoded."""
        return num_frames if self.full_decode else len(_samples(num_frames))


def scan_videos(
    folder: str | os.PathLike[str],
    paths: Iterable[str],
    settings: ScanSettings,
    known: Mapping[str, VideoScan] | None = None,
) -> Generator[Scanned, None, None]:
    """Scan videos in parallel, in the order in which they are done.

    Neither a pool of the standard library nor torch's loader will do: the former lets Ctrl-C wait
    for a video that hangs, the latter lets all others wait for it.

    Args:
        folder: what relative paths are relative to.
        paths: the videos; taken as they are needed.
        settings: how.
        known: scans of an earlier time by path; one is used again if it found the video good, as
            thoroughly, and size and time of the file are still the same.

    Raises:
        DataError: the decoding processes die, whatever they decode.
    """
    folder, todo = Path(folder), iter(paths)
    guards = [Guard(_call, time_limit_s=settings.time_limit_s) for _ in range(settings.num_workers)]
    busy: dict[Guard, VideoScan] = {}

    def start_next(guard: Guard) -> None:
        busy.pop(guard, None)
        path = next(todo, None)
        if path is not None:
            busy[guard] = VideoScan(path)
            guard.start(_look, folder, path, settings, (known or {}).get(path))

    try:
        for guard in guards:
            start_next(guard)
        while busy:
            for guard in answered(busy):
                found = _found(guard, busy[guard], folder)
                if found.scan.decoder or found.scan.reason:
                    start_next(guard)
                    yield found
                else:  # a good header
                    busy[guard] = found.scan
                    guard.start(_decode, folder, found.scan, settings)
    except DeadProcessError as error:
        raise DataError(
            f'{error}; run the same command again with fewer --workers or more memory'
        ) from None
    finally:
        for guard in guards:
            guard.close()


def _call(function: Callable[..., Scanned], *arguments: Any) -> Scanned:
    return function(*arguments)


def _found(guard: Guard, before: VideoScan, folder: Path) -> Scanned:
    try:
        return guard.answer()
    except GuardError as error:
        before = before if before.codec else _from_disk(folder, before.path)
        return Scanned(before._replace(reason=str(error)))


def _look(folder: Path, path: str, settings: ScanSettings, known: VideoScan | None) -> Scanned:
    """What file and header say, before anything is decoded; in a guarded process."""
    scan = _from_disk(folder, path)
    if known is not None and _still_holds(known, scan, settings):
        return Scanned(known, reused=True)
    try:
        return Scanned(scan._replace(**read_header(folder / path)._asdict()))
    except Exception as error:
        return Scanned(scan._replace(reason=reason_of(error)))


def _still_holds(known: VideoScan, scan: VideoScan, settings: ScanSettings) -> bool:
    unchanged = (known.bytes, known.mtime) == (scan.bytes, scan.mtime)
    # A broken one is looked at again: it may have been the disk, or too short a time limit; so
    # is one of a version that trusted decord's count, and where that failed, the packets.
    sure = known.decoder.startswith('pyav') and not known.reason
    return unchanged and sure and known.decoded >= settings.num_wanted(known.frames)


def _from_disk(folder: Path, path: str) -> VideoScan:
    try:
        status = os.stat(folder / path)
    except OSError:  # reading the header says why
        return VideoScan(path)
    return VideoScan(path, bytes=status.st_size, mtime=status.st_mtime)


def _decode(folder: Path, scan: VideoScan, settings: ScanSettings) -> Scanned:
    """A scan after decoding all frames or some; in a guarded process."""
    try:
        reader = open_video(folder / scan.path)
        try:
            height, width = _size_of_frames(reader, settings)
        except MiscountError:  # the reader has counted: its length is right now
            height, width = _size_of_frames(reader, settings)
    except Exception as error:
        return Scanned(scan._replace(reason=reason_of(error)))
    scan = scan._replace(frames=len(reader), width=width, height=height, decoder=reader.name)
    return Scanned(scan._replace(decoded=settings.num_wanted(scan.frames)))


def _size_of_frames(reader: VideoReader, settings: ScanSettings) -> tuple[int, int]:
    """Height and width of an upright frame; decodes all frames or some."""
    if settings.full_decode:
        reader.decode_all()
    samples = [0] if settings.full_decode else _samples(len(reader))
    return reader.frames(samples).shape[1:3]


def _samples(num_frames: int) -> list[int]:
    """First, middle and last frame, each once."""
    return sorted({0, num_frames // 2, num_frames - 1})


_SCAN_COLUMNS = VideoScan._fields[1:]
COLUMNS = ('path', 'label', 'class', *_SCAN_COLUMNS)

# Under a locale that is not UTF-8, names of files hold their bytes as surrogates.
_UTF8: dict[str, Any] = dict(encoding='utf-8', errors='surrogateescape', newline='')


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

    Attributes:
        known: scans of earlier runs by path.

    Raises:
        DataError: it is there and is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = {line.scan.path: line for line in _read(path)}
        self.known = {path: line.scan for path, line in self._lines.items()}

    @contextmanager
    def appending(self) -> Iterator[Callable[[ManifestLine], None]]:
        """Add lines; the file is first written anew, without what a crash has cut off."""
        self.replace(self._lines.values())
        with naming(self.path), open(self.path, 'a', **_UTF8) as file:

            def append(line: ManifestLine) -> None:
                _write(file, [line])
                file.flush()

            yield append

    def replace(self, lines: Iterable[ManifestLine]) -> None:
        """Write these lines and no others; a reader finds the old file or the new one."""
        with replacing(self.path) as temporary, open(temporary, 'w', **_UTF8) as file:
            csv.writer(file, lineterminator='\n').writerow(COLUMNS)
            _write(file, lines)


def _write(file: TextIO, lines: Iterable[ManifestLine]) -> None:
    csv.writer(file, lineterminator='\n').writerows(
        (scan.path, label, class_name, *scan[1:]) for label, class_name, scan in lines
    )


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
    yield from filter(None, map(_parsed, rows[1:]))


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
        DataError: the manifest is something else, or the decoding processes die.
    """
    manifest = Manifest(manifest_file)
    labels = dict(videos)
    lines: dict[str, ManifestLine] = {}
    num_reused = num_broken = 0
    scanned = scan_videos(folder, labels, settings, manifest.known)
    progress = VideoProgress(
        num_videos=len(labels),
        verb=('scanning', 'scanned'),
        line_at_end=False,
        waiting='no video yet',
        detail=lambda: f'{num_broken} broken',
    )
    try:
        # Closed at once on an interrupt: the processes end with it.
        with closing(scanned), manifest.appending() as append, progress:
            for scan, reused in scanned:
                label = labels[scan.path]
                line = lines[scan.path] = ManifestLine(label, class_names[label], scan)
                num_reused += reused
                num_broken += scan.broken
                if not reused:
                    append(line)
                progress.advance(1)
    except KeyboardInterrupt:
        done = f'{len(lines)} of {len(labels)} videos are in {manifest_file}'
        print(f'{done}: the same command goes on from here', file=sys.stderr)
        raise
    manifest.replace(lines[path] for path in labels)
    found = {path: lines[path].scan for path in labels}
    return ScanResult(found, num_reused, progress.elapsed_s)
