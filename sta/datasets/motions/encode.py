"""From frames to the bytes of an H.264 mp4 file."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np

FRAMES_PER_SECOND = 16
CONSTANT_RATE_FACTOR = 26
# One thread, fixed key frames and no wall clock: the same frames give the same bytes.
X264_PARAMS = 'threads=1:keyint=16:min-keyint=16:scenecut=0:open-gop=0:bframes=2:b-adapt=0'


def encode_mp4(frames: np.ndarray) -> bytes:
    """Encode (T, S, S, 3) uint8 RGB frames, S even, as H.264 yuv420p with a key frame every 16 frames."""
    buffer = io.BytesIO()
    options = {'fflags': '+bitexact'}
    with av.open(buffer, 'w', format='mp4', options=options) as container:
        stream = container.add_stream('libx264', rate=FRAMES_PER_SECOND)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.options = {
            'crf': str(CONSTANT_RATE_FACTOR),
            'preset': 'medium',
            'x264-params': X264_PARAMS,
            'flags': '+bitexact',
        }
        for frame in frames:
            planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format='yuv420p')))
        container.mux(stream.encode())
    return buffer.getvalue()
