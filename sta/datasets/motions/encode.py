"""From frames to the bytes of an H.264 mp4 file."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import cv2
import numpy as np

FRAMES_PER_SECOND = 16
CONSTANT_RATE_FACTOR = 25
# One thread, fixed key frames and no look-ahead: the same frames give the same bytes. With
# the look-ahead (mbtree, B-frames) libx264's choices for such small frames vary from call to call.
X264_PARAMS = (
    'threads=1:keyint=16:min-keyint=16:scenecut=0:open-gop=0:bframes=0:no-mbtree=1:rc-lookahead=0'
)


def encode_mp4(frames: np.ndarray) -> bytes:
    """Encode frames as an H.264 yuv420p mp4 file with a key frame at least every 16 frames.

    Args:
        frames: (T, H, W, 3) uint8 RGB, H and W even.

    Returns:
        The bytes of the file; they hold no date and no name of an encoder's build.
    """
    buffer = io.BytesIO()
    with av.open(buffer, 'w', format='mp4', options={'fflags': '+bitexact'}) as container:
        stream = container.add_stream('libx264', rate=FRAMES_PER_SECOND)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.options = {
            'crf': str(CONSTANT_RATE_FACTOR),
            'preset': 'veryfast',
            'x264-params': X264_PARAMS,
            'flags': '+bitexact',
        }
        for time, pixels in enumerate(frames):
            planes = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format='yuv420p')
            frame.pts, frame.time_base = time, Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
