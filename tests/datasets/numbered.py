"""Videos of every kind whose frames show their number, in the bits of eight bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

WIDTH, HEIGHT = 128, 96
NUM_FRAMES = 40
X265 = 'log-level=none:pools=1:scenecut=0:'


class Kind(NamedTuple):
    """How a video is made.

    Attributes:
        codec: an encoder of FFmpeg.
        suffix: says the container, unless ``container`` does.
        gop: frames from one key frame to the next.
        b_frames: between two others, which are shown before what they refer to is.
        options: of the encoder.
        container: FFmpeg's name of a container that the suffix does not say.
        times: 'even', 'varying' (a variable frame rate), 'late' (the first frame at 10 s).
        cut: a lossless cut, as far into the video, in seconds.
        pixels: format of the pixels.
    """

    codec: str
    suffix: str
    gop: int = 12
    b_frames: int = 0
    options: dict[str, str] = {}
    container: str | None = None
    times: str = 'even'
    cut: float = 0.0
    pixels: str = 'yuv420p'

    @property
    def name(self) -> str:
        """Short, for the report of the tests."""
        more = [f'g{self.gop}', f'b{self.b_frames}', *self.options.values()]
        more += [self.times] if self.times != 'even' else []
        more += [f'cut{self.cut:g}'] if self.cut else []
        more += [self.container] if self.container else []
        return f'{self.codec}-{self.suffix[1:]}-{"-".join(more)}'[:70].replace(X265, '')


def make_video(kind: Kind, folder: Path) -> Path:
    """Encode a video."""
    path = folder / f'video{kind.suffix}'
    if not kind.cut:
        return encode(path, kind, map(picture, range(NUM_FRAMES)))
    whole = encode(folder / f'whole{kind.suffix}', kind, map(picture, range(NUM_FRAMES)))
    return cut_losslessly(whole, path, kind.cut)


def picture(number: int) -> np.ndarray:
    """(H, W, 3) uint8: eight bars, a bright one for each bit that is set."""
    frame = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for bit in range(8):
        frame[: HEIGHT // 2, bit * 16 : bit * 16 + 16] = 235 if number >> bit & 1 else 20
    return frame


def numbers_of(frames: Iterable[np.ndarray]) -> list[int]:
    """The numbers that frames show."""
    greys = (frame.astype(int).mean(2) for frame in frames)
    return [
        sum(1 << bit for bit in range(8) if grey[12:36, bit * 16 + 8].mean() > 128)
        for grey in greys
    ]


def encode(path: Path, kind: Kind, frames: Iterable[np.ndarray], *, scale: int = 1) -> Path:
    """Encode (H, W, 3) uint8 frames of so many times the usual size."""
    with av.open(str(path), 'w', format=kind.container) as container:
        stream = container.add_stream(kind.codec, rate=25, options=_options(kind))
        stream.width, stream.height = WIDTH * scale, HEIGHT * scale
        stream.pix_fmt = kind.pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = kind.gop
        if kind.times == 'varying':
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts = number
            if kind.times == 'late':
                frame.pts += 250
            if kind.times == 'varying':
                frame.pts, frame.time_base = number * 40 + 11 * (number % 3), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _options(kind: Kind) -> dict[str, str]:
    options = {'g': str(kind.gop), 'bf': str(kind.b_frames)}
    if kind.codec == 'libx264':
        options['crf'] = '12'
    elif kind.codec == 'libx265':
        params = f'keyint={kind.gop}:min-keyint={kind.gop}:bframes={kind.b_frames}'
        options = {'crf': '12', 'x265-params': f'{X265}{params}:{kind.options.get("gops", "")}'}
        return options
    elif kind.codec == 'libvpx-vp9' or kind.codec == 'libvpx':
        options |= {'crf': '10', 'b': '1M', 'cpu-used': '5', 'lag-in-frames': '16'}
        options |= {'auto-alt-ref': '1'}
    elif kind.codec == 'libsvtav1':
        options = {'crf': '20', 'preset': '10', 'g': str(kind.gop)}
    elif kind.codec.startswith(('mpeg', 'wmv', 'msmpeg4', 'h263', 'flv', 'theora')):
        options |= {'qmin': '2', 'qmax': '3'}
    return options | kind.options


def cut_losslessly(source: Path, target: Path, seconds: float) -> Path:
    """Copy packets from the key frame before a time on, which itself gets a negative time."""
    with av.open(str(source)) as whole, av.open(str(target), 'w') as part:
        old = whole.streams.video[0]
        new = part.add_stream_from_template(old)
        cut = round(seconds / old.time_base) + (old.start_time or 0)
        whole.seek(cut, stream=old, backward=True)
        for packet in whole.demux(old):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - cut, packet.dts - cut, new
                part.mux(packet)
    return target


def shown(path: Path) -> list[int]:
    """The numbers that a player shows: all frames, decoded from the first."""
    with av.open(str(path)) as container:
        return numbers_of(f.to_ndarray(format='rgb24') for f in container.decode(video=0))


def grid() -> Sequence[Kind]:
    """Codecs, containers, groups of pictures, B-frames, time stamps."""
    kinds = [
        Kind('libx264', suffix, gop, b_frames, {'x264-params': f'open-gop={int(is_open)}'})
        for suffix in ('.mp4', '.mkv', '.ts', '.flv')
        for gop, b_frames, is_open in ((12, 0, False), (12, 3, False), (12, 3, True), (1, 0, False))
    ]
    kinds += [Kind('libx264', suffix, 12, 3) for suffix in ('.mov', '.avi', '.m4v', '.mts')]
    kinds += [Kind('libx264', '.mpg', 12, 2, container='mpeg')]
    kinds += [Kind('libx264', '.h264', 12, 2, container='h264')]
    kinds += [
        Kind('libx264', suffix, 12, 3, times=times)
        for suffix in ('.mp4', '.mkv', '.ts')
        for times in ('varying', 'late')
    ]
    kinds += [
        Kind('libx264', suffix, 12, b_frames, cut=cut)
        for suffix in ('.mp4', '.mkv', '.ts', '.mov')
        for b_frames, cut in ((0, 0.7), (3, 0.9))
    ]
    kinds += [Kind('libx264', '.mp4', 250, 3, {'x264-params': 'intra-refresh=1:keyint=12'})]
    kinds += [
        Kind('libx265', suffix, 12, 4, {'gops': f'open-gop={int(is_open)}'})
        for suffix in ('.mp4', '.mkv', '.ts')
        for is_open in (False, True)
    ]
    kinds += [Kind('libx265', '.mp4', 12, 4, {'gops': 'open-gop=1'}, cut=0.9)]
    kinds += [
        Kind('mpeg4', suffix, 12, b_frames)
        for suffix in ('.avi', '.mp4', '.mkv', '.mov')
        for b_frames in (0, 2)
    ]
    kinds += [
        Kind('mpeg2video', suffix, 12, b_frames)
        for suffix in ('.mpg', '.ts', '.vob', '.mkv')
        for b_frames in (0, 2)
    ]
    kinds += [Kind('mpeg1video', '.mpg', 12, 2), Kind('msmpeg4', '.avi'), Kind('wmv2', '.wmv')]
    kinds += [Kind('wmv1', '.asf'), Kind('flv', '.flv')]
    kinds += [Kind('libvpx', suffix) for suffix in ('.webm', '.mkv')]
    kinds += [Kind('libvpx-vp9', suffix) for suffix in ('.webm', '.mp4', '.mkv')]
    kinds += [Kind('libsvtav1', suffix) for suffix in ('.mp4', '.webm', '.mkv')]
    kinds += [Kind('mjpeg', suffix, pixels='yuvj420p') for suffix in ('.avi', '.mov', '.mkv')]
    kinds += [Kind('prores_ks', '.mov', pixels='yuv422p10le'), Kind('ffv1', '.mkv')]
    kinds += [Kind('ffv1', '.avi'), Kind('huffyuv', '.avi', pixels='yuv422p')]
    kinds += [Kind('rawvideo', suffix) for suffix in ('.avi', '.mkv')]
    kinds += [Kind('gif', '.gif', pixels='rgb8'), Kind('png', '.mov', pixels='rgb24')]
    return kinds
