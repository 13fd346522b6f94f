"""Tiny videos whose frames tell their number."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

LEVELS_PER_FRAME = 6


def write_movie(
    path: Path, *, num_frames: int = 10, width: int = 64, height: int = 48, rate: int = 10
) -> Path:
    """H.264 mp4; frame i is grey of level 6 i + 3 all over.

    decord cannot decode widths of 16, 24, 48 and 72 pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path.absolute()), 'w') as container:
        stream = container.add_stream('libx264', rate=rate, options={'crf': '10'})
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for i in range(num_frames):
            grey = np.full((height, width, 3), LEVELS_PER_FRAME * i + 3, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format='rgb24')))
        container.mux(stream.encode())
    return path


def frame_numbers(frames: np.ndarray) -> list[int]:
    """Numbers of frames (F, ...) from their brightness."""
    means = np.asarray(frames, dtype=np.float64).reshape(len(frames), -1).mean(1)
    return [int(mean // LEVELS_PER_FRAME) for mean in means]
