"""Transforms for evaluation exactly as published, registered in mmaction2's TRANSFORMS."""

from __future__ import annotations

import cv2
import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .decoding import open_video
from .sampling import PROTOCOLS


@TRANSFORMS.register_module()
class OpenVideo(BaseTransform):
    """Open a video, in the process that will decode it.

    Required keys: filename; optional: decoder ('decord', which is the default, or 'pyav'). Added
    keys: video_reader, total_frames, avg_fps.

    Args:
        num_threads: decoding threads per video; the data loader's workers already run in parallel.
    """

    def __init__(self, *, num_threads: int = 1) -> None:
        self.num_threads = num_threads

    def transform(self, results: dict) -> dict:
        """Open it.

        Raises:
            VideoError: it is no video, or holds no frame.
        """
        reader = open_video(
            results['filename'],
            decoder=results.get('decoder', 'decord'),
            num_threads=self.num_threads,
        )
        results['video_reader'] = reader
        results['total_frames'] = len(reader)
        results['avg_fps'] = reader.avg_fps
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_threads={self.num_threads})'


@TRANSFORMS.register_module()
class DecodeFrames(BaseTransform):
    """Decode the chosen frames, each once however many clips show it.

    Required keys: video_reader, frame_inds. Added keys: imgs, a list of (H, W, 3) uint8 RGB in the
    order of frame_inds (a frame asked for twice is the same array twice), original_shape,
    img_shape. The reader is let go.
    """

    def transform(self, results: dict) -> dict:
        """Decode.

        Raises:
            VideoError: a frame cannot be decoded.
        """
        unique, places = np.unique(np.asarray(results['frame_inds']).ravel(), return_inverse=True)
        frames = results.pop('video_reader').frames(unique.tolist())
        results['imgs'] = [frames[place] for place in places]
        results['original_shape'] = results['img_shape'] = frames.shape[1:3]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class ProtocolSampleFrames(BaseTransform):
    """Choose frames by a published protocol.

    Required keys: total_frames. Added keys: frame_inds (num_clips * clip_len,), clip_len,
    frame_interval, num_clips.

    Args:
        protocol: 'videomae_k400', 'videomae_ssv2', 'videoswin_k400' or 'videoswin_ssv2'.
        num_clips: temporal clips.
        clip_len: frames of a clip.
    """

    def __init__(self, *, protocol: str, num_clips: int, clip_len: int = 16) -> None:
        if protocol not in PROTOCOLS:
            raise ValueError(f'protocol must be one of {sorted(PROTOCOLS)}, got {protocol!r}')
        # A number of clips that the protocol does not define fails here, not at the first video.
        PROTOCOLS[protocol](1, num_clips=num_clips, clip_len=clip_len)
        self.protocol = protocol
        self.num_clips = num_clips
        self.clip_len = clip_len

    def transform(self, results: dict) -> dict:
        """Add the frame indices."""
        indices = PROTOCOLS[self.protocol](
            results['total_frames'], num_clips=self.num_clips, clip_len=self.clip_len
        )
        results['frame_inds'] = indices.reshape(-1)
        results['clip_len'] = self.clip_len
        results['frame_interval'] = None
        results['num_clips'] = self.num_clips
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(protocol={self.protocol!r}, num_clips={self.num_clips}, '
            f'clip_len={self.clip_len})'
        )


@TRANSFORMS.register_module()
class ShortSideCrops(BaseTransform):
    """Resize the short side, then cut evenly spaced squares along the long side (VideoMAE).

    Required and changed keys: imgs, a list of (H, W, 3) uint8, which becomes the frames of the
    first crop, then those of the second, ... Changed: img_shape.

    Args:
        size: short side after resizing and side of the crops, in pixels.
        num_crops: crops; 1 takes the middle one.
    """

    def __init__(self, *, size: int = 224, num_crops: int = 3) -> None:
        if size < 1 or num_crops < 1:
            raise ValueError(f'size and num_crops must be positive, got {size} and {num_crops}')
        self.size = size
        self.num_crops = num_crops

    def transform(self, results: dict) -> dict:
        """Resize and crop."""
        frames = [self._resize(frame) for frame in results['imgs']]
        height, width = frames[0].shape[:2]
        crops = []
        for start in self._starts(max(height, width)):
            top, left = (start, 0) if height > width else (0, start)
            crops += [f[top : top + self.size, left : left + self.size] for f in frames]
        results['imgs'] = crops
        results['img_shape'] = (self.size, self.size)
        return results

    def _resize(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if min(height, width) == self.size:
            return frame
        if height > width:
            shape = (self.size, int(self.size * height / width))
        else:
            shape = (int(self.size * width / height), self.size)
        return cv2.resize(frame, shape, interpolation=cv2.INTER_LINEAR)

    def _starts(self, long_side: int) -> list[int]:
        room = long_side - self.size
        if self.num_crops == 1:
            return [room // 2]
        step = room / (self.num_crops - 1)
        return [int(k * step) for k in range(self.num_crops)]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, num_crops={self.num_crops})'
