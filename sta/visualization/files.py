"""Pictures as the bytes of a file: PNG, animated GIF, MP4."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from PIL import Image

SUFFIXES = ('.png', '.gif', '.mp4')
FRAMES_PER_SECOND = 4


def png_bytes(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as PNG; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format='png', optimize=True)
    return buffer.getvalue()


def gif_bytes(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures (H, W, 3) uint8 RGB as a GIF that plays for ever, 4 a second.

    All of them share one palette without dithering: what stands still does not flicker.
    """
    together = Image.fromarray(np.concatenate(list(pictures)))
    palette = together.quantize(256, method=Image.Quantize.MEDIANCUT)
    first, *rest = (
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    )
    buffer = io.BytesIO()
    first.save(
        buffer,
        format='gif',
        save_all=True,
        append_images=rest,
        duration=1000 // FRAMES_PER_SECOND,
        loop=0,
    )
    return buffer.getvalue()


def mp4_bytes(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures (H, W, 3) uint8 RGB with even sides as H.264, 4 a second."""
    buffer = io.BytesIO()
    with av.open(buffer, 'w', format='mp4', options={'fflags': '+bitexact'}) as container:
        stream = container.add_stream('libx264', rate=FRAMES_PER_SECOND)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = 'yuv420p'
        # One thread and no look-ahead: equal pictures give equal bytes.
        stream.options = {
            'crf': '18',
            'x264-params': 'threads=1:bframes=0:no-mbtree=1:rc-lookahead=0',
            'flags': '+bitexact',
        }
        for time, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            frame.pts, frame.time_base = time, Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def encode(pictures: Sequence[np.ndarray], suffix: str) -> bytes:
    """One picture as '.png', any number as '.gif' or '.mp4'.

    Raises:
        ValueError: another suffix.
    """
    if suffix == '.png':
        [picture] = pictures
        return png_bytes(picture)
    if suffix not in SUFFIXES:
        raise ValueError(f'suffix must be one of {", ".join(SUFFIXES)}, got {suffix!r}')
    return gif_bytes(pictures) if suffix == '.gif' else mp4_bytes(pictures)
