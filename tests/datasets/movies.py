"""Tiny videos whose frames tell their number, and videos that are broken or only look it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

LEVELS_PER_FRAME = 6


def write_movie(
    path: Path, *, num_frames: int = 10, width: int = 64, height: int = 48, rate: int = 10
) -> Path:
    """H.264 mp4; frame i is grey of level 6 i + 3 all over.

    decord cannot decode widths of 16, 24, 48 and 72 pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return _encode(path.absolute(), _greys(num_frames, width, height), rate=rate)


def _greys(num_frames: int, width: int, height: int) -> list[np.ndarray]:
    levels = (LEVELS_PER_FRAME * i + 3 for i in range(num_frames))
    return [np.full((height, width, 3), level, np.uint8) for level in levels]


def frame_numbers(frames: np.ndarray) -> list[int]:
    """Numbers of frames (F, ...) from their brightness."""
    means = np.asarray(frames, dtype=np.float64).reshape(len(frames), -1).mean(1)
    return [int(mean // LEVELS_PER_FRAME) for mean in means]


os.environ.setdefault('SVT_LOG', '1')  # the AV1 encoder of the tests tells of errors only

# Matrices of tkhd (a, b, c, d of ISO/IEC 14496-12) for a picture to be turned clockwise.
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def _cut(path: Path) -> None:
    whole = write_movie(path, num_frames=20).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _cut_behind_its_index(path: Path) -> None:
    """Made for streaming: the index comes first, so that it opens as if nothing were missing."""
    whole = write_movie(path.with_suffix('.whole.mp4'), num_frames=20)
    with (
        av.open(str(whole)) as source,
        av.open(str(path), 'w', format='mp4', options={'movflags': 'faststart'}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole.unlink()
    content = path.read_bytes()
    path.write_bytes(content[: int(0.9 * len(content))])


def _cut_matroska(path: Path) -> None:
    whole = write_movie(path.with_suffix('.mkv'), num_frames=20)
    content = whole.read_bytes()
    path.write_bytes(content[: int(0.6 * len(content))])
    whole.unlink()


def _without_frames(path: Path) -> None:
    """Header and index, and nothing between them."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        container.start_encoding()


def _sound_only(path: Path) -> None:
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=44100)
        silence = np.zeros((1, 44100), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format='fltp', layout='mono')
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _picture(path: Path) -> None:
    path.write_bytes(cv2.imencode('.png', np.zeros((48, 64, 3), np.uint8))[1].tobytes())


def _overwritten(path: Path) -> None:
    """A bad sector: noise where the frames should be."""
    content = bytearray(write_movie(path, num_frames=30, width=128, height=96).read_bytes())
    start = content.index(b'mdat') + 4
    size = int.from_bytes(content[start - 8 : start - 4], 'big') - 8
    content[start : start + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


# Name, what makes it, and a part of the reason that must be given.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    'cut.mp4': (_cut, 'it is truncated: '),
    'cut_behind_index.mp4': (_cut_behind_its_index, 'it is truncated: '),
    'cut.webm': (_cut_matroska, 'it is truncated: '),
    'empty.mp4': (lambda path: path.touch(), 'it is empty (0 bytes)'),
    'no_frames.mp4': (_without_frames, 'it '),
    'text.mp4': (lambda path: path.write_text('<html>not found</html>\n' * 99), 'invalid data'),
    'notes.txt': (
        lambda path: path.write_text('these are notes\n' * 99),
        "it is no video but 'tty'",
    ),
    'picture.mp4': (_picture, "it is no video but 'png'"),
    'sound.mp4': (_sound_only, 'it has no video stream, only audio'),
    'noise.mp4': (_overwritten, 'it cannot be decoded: '),
    'folder.mp4': (_folder, 'it is not a regular file'),
    'pipe.mp4': (_pipe, 'it is not a regular file'),
    'missing.mp4': (lambda path: None, 'there is no such file'),
}


def write_rotated(path: Path, degrees: int, *, num_frames: int = 6) -> Path:
    """A film of 128 x 64 whose left half is dark, to be shown turned clockwise."""
    write_split(path, num_frames=num_frames)
    content = bytearray(path.read_bytes())
    matrix = content.index(b'tkhd') + 44
    a, b, c, d = (value << 16 for value in _TURNS[degrees])
    content[matrix : matrix + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def write_split(path: Path, *, num_frames: int) -> Path:
    """A film of 128 x 64 pixels: left half dark, right half bright."""
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, 64:] = 200
    return _encode(path, [frame] * num_frames)


def write_variable_rate(path: Path, *, num_frames: int) -> Path:
    """The frames of write_movie, each shown for 10 to 120 ms."""
    times = np.cumsum(np.random.default_rng(0).integers(10, 120, num_frames))
    return _encode(path, _greys(num_frames, 64, 48), times.tolist())


def write_odd_size(path: Path, *, width: int = 101, height: int = 77, num_frames: int = 6) -> Path:
    """Lossless, without chroma subsampling, since H.264 players want even sizes."""
    return _encode(path, _greys(num_frames, width, height), codec='ffv1', pixels='yuv444p')


def write_av1(path: Path, *, num_frames: int = 6) -> Path:
    """A codec that decord's old FFmpeg does not know."""
    return _encode(path, _greys(num_frames, 64, 64), codec='libsvtav1')


def _encode(
    path: Path,
    frames: list[np.ndarray],
    times_ms: list[int] | None = None,
    *,
    codec: str = 'libx264',
    pixels: str = 'yuv420p',
    rate: int = 10,
) -> Path:
    with av.open(str(path), 'w') as container:
        options = {'crf': '10'} if codec == 'libx264' else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, pixels_of_frame in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, format='rgb24')
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
