"""Look into many videos: frames, size, codec, and whether they can be decoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sta.errors import DataError, VideoError

from .decoding import MiscountError, VideoFacts, VideoReader, open_video, read_header
from .guard import Guard, GuardError
from .video_file import check_file
from .workers import in_processes


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
