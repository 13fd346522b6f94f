"""Frames of a video: decord first, as in the published evaluations, PyAV where decord fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import av
import decord
import numpy as np

from .video_file import VideoError, check_file

# A damaged video is reported once, by the data set; FFmpeg's own lines would come on top.
decord.logging.set_level(decord.logging.QUIET)
av.logging.set_level(av.logging.PANIC)

DECODERS = ('decord', 'pyav')
# FFmpeg takes pictures and even plain text for videos of a frame or two.
_NO_VIDEO_FORMATS = ('tty', 'image2', 'bin', 'xbin', 'adf', 'idf', 'txd')
# Lists of other files: what is decoded must be what the data set names.
_PLAYLISTS = ('concat', 'hls', 'dash', 'imf', 'webm_dash_manifest', 'sdp')
# Eight frames of 4K take 200 MB; more at once are no faster.
_FRAMES_AT_ONCE = 8


class VideoReader(Protocol):
    """What both decoders offer."""

    avg_fps: float

    def __len__(self) -> int:
        """Frames of the video."""

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """(len(indices), H, W, 3) uint8 RGB, upright, in the order asked for."""

    def decode_all(self) -> None:
        """Decode every frame and keep none; raises VideoError at the first that fails."""


class VideoFacts(NamedTuple):
    """What the header of a video says.

    Attributes:
        width, height: of an upright frame, in pixels.
        fps: average frames per second; 0 where unknown.
        codec: FFmpeg's name, e.g. 'h264'.
    """

    width: int
    height: int
    fps: float
    codec: str


def read_header(path: str | os.PathLike) -> VideoFacts:
    """Check that a file is a video; decodes nothing.

    Raises:
        VideoError: no video stream, a picture, or no container that FFmpeg knows; see check_file.
    """
    check_file(path)
    with _opened(path) as container:
        name = container.format.name
        if name in _NO_VIDEO_FORMATS or name.endswith('_pipe'):
            raise VideoError(f'it is no video but {name.removesuffix("_pipe")!r}')
        if not set(name.split(',')).isdisjoint(_PLAYLISTS):
            raise VideoError(f'it is no video but a list of other files ({name})')
        stream = _video_stream(container)
        context = stream.codec_context
        fps = float(stream.average_rate or 0)
        return VideoFacts(context.width, context.height, fps, context.name)


def open_video(
    path: str | os.PathLike, *, decoder: str = 'decord', num_threads: int = 1
) -> VideoReader:
    """Open a video, in the process that will decode it.

    Args:
        path: the file.
        decoder: 'decord' or 'pyav'; their frames are equal to the last bit.
        num_threads: of the decoder.

    Raises:
        VideoError: it cannot be opened, or holds no frame.
    """
    if decoder not in DECODERS:
        raise ValueError(f'decoder must be one of {list(DECODERS)}, got {decoder!r}')
    read_header(path)
    reader = (DecordReader if decoder == 'decord' else PyAVReader)(path, num_threads)
    if len(reader) == 0:
        raise VideoError('it holds no frame')
    return reader


class DecordReader:
    """decord, whose index allows it to jump to the frames that are asked for."""

    def __init__(self, path: str | os.PathLike, num_threads: int = 1) -> None:
        try:
            self._reader = decord.VideoReader(os.fspath(path), num_threads=num_threads)
        except Exception as error:  # decord raises RuntimeError and its own, with C++ addresses
            raise VideoError(_decord_reason(error)) from error
        self.avg_fps = float(self._reader.get_avg_fps())

    def __len__(self) -> int:
        return len(self._reader)

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`VideoReader`."""
        try:
            return self._reader.get_batch(list(indices)).asnumpy()
        except Exception as error:
            raise VideoError(_decord_reason(error)) from error

    def decode_all(self) -> None:
        """See :class:`VideoReader`."""
        for start in range(0, len(self), _FRAMES_AT_ONCE):
            self.frames(range(start, min(start + _FRAMES_AT_ONCE, len(self))))


class PyAVReader:
    """PyAV, which decodes from the first frame on; slower, and knows newer codecs (AV1)."""

    def __init__(self, path: str | os.PathLike, num_threads: int = 1) -> None:
        self._path, self._num_threads = path, num_threads
        with _opened(path) as container:
            stream = _video_stream(container)
            self.avg_fps = float(stream.average_rate or 0)
            self._length = sum(
                1 for packet in container.demux(stream) if packet.size and not packet.is_discard
            )

    def __len__(self) -> int:
        return self._length

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`VideoReader`."""
        wanted, found = set(map(int, indices)), {}
        last = max(wanted)
        for place, frame in enumerate(self._decoded()):
            if place in wanted:
                if frame.is_corrupt:
                    raise VideoError(f'frame {place} is damaged')
                found[place] = _upright(frame)
            if place == last:
                break
        missing = wanted - set(found)
        if missing:
            raise VideoError(f'frame {min(missing)} of {self._length} cannot be decoded')
        return np.stack([found[int(index)] for index in indices])

    def decode_all(self) -> None:
        """See :class:`VideoReader`."""
        decoded = 0
        for frame in self._decoded():
            if frame.is_corrupt:
                raise VideoError(f'frame {decoded} is damaged')
            decoded += 1
        if decoded < self._length:
            raise VideoError(f'frame {decoded} of {self._length} cannot be decoded')

    def _decoded(self) -> Iterator[av.VideoFrame]:
        with _opened(self._path) as container:
            stream = _video_stream(container)
            stream.codec_context.thread_count = self._num_threads
            try:
                yield from container.decode(stream)
            except av.FFmpegError as error:
                raise VideoError(_ffmpeg_reason(error)) from error


def _opened(path: str | os.PathLike) -> av.container.InputContainer:
    try:
        # Plain files only: a playlist must not make us open other files or addresses.
        return av.open(os.fspath(path), options={'protocol_whitelist': 'file'})
    except (av.FFmpegError, ValueError, UnicodeDecodeError) as error:
        raise VideoError(_ffmpeg_reason(error)) from error


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    streams = container.streams.video
    if not streams:
        kinds = ', '.join(sorted({stream.type or 'data' for stream in container.streams}))
        raise VideoError(f'it has no video stream{", only " if kinds else ""}{kinds}')
    return streams[0]


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) RGB as decord shows it: turned as the file says."""
    pixels = frame.to_ndarray(format='rgb24')
    turns = round(getattr(frame, 'rotation', 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _ffmpeg_reason(error: Exception) -> str:
    reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return f'it cannot be decoded: {reason[:1].lower()}{reason[1:160]}'


def _decord_reason(error: Exception) -> str:
    """decord's message without time stamps and source lines."""
    text = ' '.join(str(error).split())
    said = text.rpartition('Check failed: ')[2] or text
    return f'decord cannot decode it: {said[:120]}'
