"""Evaluation exactly as published, index for index, and clips of videos of one's own for training.

mmaction2's own samplers pick other frames for most video lengths than VideoMAE and VideoSwin did,
which moves top-1 by tenths of a point to points; results are only comparable with the published
ones under the published indices. The transforms are registered in mmaction2's TRANSFORMS.
"""

from __future__ import annotations

import inspect
from typing import Any

import cv2
import numpy as np
from mmaction.datasets.transforms import SampleFrames, UniformSample
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from .decoding import open_video


def videomae_k400_indices(
    num_frames: int, *, num_clips: int = 5, clip_len: int = 16, stride: int = 4
) -> np.ndarray:
    """Dense clips: every fourth frame of the video, then evenly spaced windows of 16 of those.

    Args:
        num_frames: frames of the video.
        num_clips: temporal clips.
        clip_len: frames of a clip.
        stride: distance of the frames.

    Returns:
        (num_clips, clip_len) int64. Videos shorter than a clip repeat their last strided frame.
    """
    _check_counts(num_frames, num_clips)
    strided = np.arange(0, num_frames, stride)
    missing = max(clip_len - len(strided), 0)
    strided = np.concatenate([strided, np.full(missing, strided[-1])])
    room = len(strided) - clip_len
    # A single clip, which VideoMAE never evaluates, looks at the middle.
    starts = (
        [room // 2]
        if num_clips == 1
        else [int(k * (room / (num_clips - 1))) for k in range(num_clips)]
    )
    return np.stack([strided[start : start + clip_len] for start in starts])


def videomae_ssv2_indices(num_frames: int, *, num_clips: int = 2, clip_len: int = 16) -> np.ndarray:
    """Two interleaved clips over the whole video.

    Args:
        num_frames: frames of the video.
        num_clips: temporal clips; 1 takes the first of the two.
        clip_len: frames of a clip.

    Returns:
        (num_clips, clip_len) int64.

    Raises:
        ValueError: another number of clips than 1 or 2, which the protocol does not define.
    """
    _check_counts(num_frames, num_clips)
    if num_clips > 2:
        raise ValueError(f'the VideoMAE SSV2 protocol has 1 or 2 clips, got {num_clips}')
    tick = num_frames / clip_len
    x = np.arange(clip_len)
    both = np.sort(np.concatenate([tick / 2 + tick * x, tick * x]).astype(np.int64))
    return np.stack([both[c::2] for c in range(num_clips)])


def videoswin_k400_indices(
    num_frames: int, *, num_clips: int = 4, clip_len: int = 32, stride: int = 2
) -> np.ndarray:
    """Dense clips of every second frame, each from the middle of its share of the starts.

    Args:
        num_frames: frames of the video.
        num_clips: temporal clips.
        clip_len: frames of a clip.
        stride: distance of the frames.

    Returns:
        (num_clips, clip_len) int64. Videos shorter than a clip start again from their first frame.
    """
    _check_counts(num_frames, num_clips)
    room = num_frames - clip_len * stride + 1
    starts = np.zeros(num_clips, np.int64)
    if room > 0:
        share = room / num_clips
        starts = (np.arange(num_clips) * share + share / 2).astype(np.int64)
    return (starts[:, None] + np.arange(clip_len) * stride) % num_frames


def videoswin_ssv2_indices(
    num_frames: int, *, num_clips: int = 1, clip_len: int = 32
) -> np.ndarray:
    """One clip over the whole video: the middle of each of 32 equal segments.

    Args:
        num_frames: frames of the video.
        num_clips: must be 1.
        clip_len: frames of a clip.

    Returns:
        (1, clip_len) int64.

    Raises:
        ValueError: more clips, which the protocol does not define.
    """
    _check_counts(num_frames, num_clips)
    if num_clips != 1:
        raise ValueError(f'the VideoSwin SSV2 protocol has 1 clip, got {num_clips}')
    edges = np.round((num_frames - 1) / clip_len * np.arange(clip_len + 1)).astype(np.int64)
    return ((edges[:-1] + edges[1:]) // 2)[None]


def _check_counts(num_frames: int, num_clips: int) -> None:
    if num_frames < 1 or num_clips < 1:
        raise ValueError(
            f'frames and clips must be at least 1, got {num_frames} frames and {num_clips} clips'
        )


PROTOCOLS = {
    'videomae_k400': videomae_k400_indices,
    'videomae_ssv2': videomae_ssv2_indices,
    'videoswin_k400': videoswin_k400_indices,
    'videoswin_ssv2': videoswin_ssv2_indices,
}


class Transform(BaseTransform):
    """A transform that shows its settings, which it keeps under the names of its arguments."""

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f'{type(self).__name__}({", ".join(f"{n}={getattr(self, n)!r}" for n in names)})'


@TRANSFORMS.register_module()
class OpenVideo(Transform):
    """Open a video, in the process that will decode it.

    Required keys: filename; optional: decoder ('pyav', which is the default, or 'decord'), recount
    (count the frames by decoding them). Added keys: video_reader, total_frames, avg_fps,
    decoded_by (the reader's name). Where mmaction2's inferencer gives frames instead (keys array or
    frame_dir), there is nothing to open.

    Args:
        num_threads: decoding threads per video; the data loader's workers already run in parallel.
    """

    def __init__(self, *, num_threads: int = 1) -> None:
        self.num_threads = num_threads

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open it.

        Raises:
            VideoError: it is no video, or holds no frame.
        """
        if 'array' in results or 'frame_dir' in results:
            return results
        reader = open_video(
            results['filename'],
            decoder=results.get('decoder', 'pyav'),
            num_threads=self.num_threads,
            recount=results.get('recount', False),
        )
        results['video_reader'] = reader
        results['total_frames'] = len(reader)
        results['avg_fps'] = reader.avg_fps
        results['decoded_by'] = reader.name
        return results


@TRANSFORMS.register_module()
class DecodeFrames(Transform):
    """Decode the chosen frames, each once however many clips show it.

    Required keys: video_reader, frame_inds. Added keys: imgs, a list of (H, W, 3) uint8 RGB in the
    order of frame_inds (a frame asked for twice is the same array twice), original_shape,
    img_shape. The reader is let go.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode.

        Raises:
            VideoError: a frame cannot be decoded.
        """
        unique, places = np.unique(np.asarray(results['frame_inds']).ravel(), return_inverse=True)
        frames = results.pop('video_reader').frames(unique.tolist())
        single = list(frames)
        results['imgs'] = [single[place] for place in places]
        results['original_shape'] = results['img_shape'] = frames.shape[1:3]
        return results


@TRANSFORMS.register_module()
class ProtocolSampleFrames(Transform):
    """Choose frames by a published protocol.

    Required keys: total_frames. Added keys: frame_inds (num_clips * clip_len,), clip_len,
    frame_interval, num_clips.

    Args:
        protocol: 'videomae_k400', 'videomae_ssv2', 'videoswin_k400' or 'videoswin_ssv2'; or
            'mmaction2' for what mmaction2 1.2 samples instead: SampleFrames where a stride is
            given, else UniformSample. Differences in accuracy between the two are of its making.
        num_clips: temporal clips.
        clip_len: frames of a clip.
        stride: frames from one sampled frame to the next; None is the protocol's own. The SSV2
            protocols spread their frames over the whole video and have none.
    """

    def __init__(
        self, *, protocol: str, num_clips: int, clip_len: int = 16, stride: int | None = None
    ) -> None:
        if protocol not in (*PROTOCOLS, 'mmaction2'):
            raise ValueError(
                f'protocol must be one of {sorted((*PROTOCOLS, "mmaction2"))}, got {protocol!r}'
            )
        self.protocol = protocol
        self.num_clips = num_clips
        self.clip_len = clip_len
        self.stride = stride
        # A number of clips that the protocol does not define fails here, not at the first video.
        self._indices(1)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the frame indices."""
        results['frame_inds'] = self._indices(results['total_frames']).reshape(-1)
        results['clip_len'] = self.clip_len
        results['frame_interval'] = self.stride
        results['num_clips'] = self.num_clips
        return results

    def _indices(self, num_frames: int) -> np.ndarray:
        if self.protocol == 'mmaction2':
            return self._mmaction2_indices(num_frames)
        settings = dict(num_clips=self.num_clips, clip_len=self.clip_len)
        if self.stride is not None:
            if self.protocol.endswith('ssv2'):
                raise ValueError(f'the protocol {self.protocol} has no stride, got {self.stride}')
            settings['stride'] = self.stride
        return PROTOCOLS[self.protocol](num_frames, **settings)

    def _mmaction2_indices(self, num_frames: int) -> np.ndarray:
        settings = dict(clip_len=self.clip_len, num_clips=self.num_clips, test_mode=True)
        if self.stride is None:
            sampler = UniformSample(**settings)
        else:
            sampler = SampleFrames(frame_interval=self.stride, **settings)
        return sampler(dict(total_frames=num_frames, start_index=0, avg_fps=None))['frame_inds']


@TRANSFORMS.register_module()
class ShortSideCrops(Transform):
    """Resize the short side, then cut evenly spaced squares along the long side.

    Required and changed keys: imgs, a list of (H, W, 3) uint8, which becomes the frames of the
    first crop, then those of the second, ... Changed: img_shape.

    Args:
        size: short side after resizing and side of the crops, in pixels.
        num_crops: crops; 1 takes the middle one.
        rule: how lengths are rounded: 'videomae' cuts off, 'videoswin' resizes as mmcv does (to the
            nearest pixel) and takes three crops in the order left, right, middle.
    """

    def __init__(self, *, size: int = 224, num_crops: int = 3, rule: str = 'videomae') -> None:
        if size < 1 or num_crops < 1:
            raise ValueError(f'size and num_crops must be positive, got {size} and {num_crops}')
        if rule not in ('videomae', 'videoswin'):
            raise ValueError(f"rule must be 'videomae' or 'videoswin', got {rule!r}")
        self.size = size
        self.num_crops = num_crops
        self.rule = rule

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize and crop."""
        resized = {id(frame): self._resize(frame) for frame in results['imgs']}
        frames = [resized[id(frame)] for frame in results['imgs']]
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
        long_side = self._long_side(max(height, width), min(height, width))
        shape = (self.size, long_side) if height > width else (long_side, self.size)
        return cv2.resize(frame, shape, interpolation=cv2.INTER_LINEAR)

    def _long_side(self, long_side: int, short_side: int) -> int:
        if self.rule == 'videomae':
            return int(self.size * long_side / short_side)
        return int(long_side * (self.size / short_side) + 0.5)

    def _starts(self, long_side: int) -> list[int]:
        room = long_side - self.size
        if self.num_crops == 1:
            return [room // 2]
        if self.rule == 'videomae':
            step = room / (self.num_crops - 1)
            return [int(k * step) for k in range(self.num_crops)]
        starts = [k * (room // (self.num_crops - 1)) for k in range(self.num_crops)]
        return [starts[0], starts[2], starts[1]] if self.num_crops == 3 else starts


@TRANSFORMS.register_module()
class TrainingClip(Transform):
    """From a file to one clip for a model: the whole pipeline for training on videos of one's own.

    Frames are drawn at random, from equal parts of the video or in a dense run; the clip is a
    random part of the picture, mirrored or not. No label is changed. Without augmentation: the same
    frames each time (the middle ones) and the centre of the picture, for looking at a validation
    set between epochs.

    Required keys: filename, label; optional: decoder. The result is that of PackActionInputs, with
    inputs (1, 3, clip_len, size, size).

    Args:
        clip_len: frames of a clip.
        size: side of a clip, in pixels.
        stride: frames from one chosen frame to the next; None spreads them over the whole video.
        area_range: smallest and largest share of the picture that a crop shows.
        flip_ratio: share of the clips that is mirrored; 0 where left and right make a difference to
            the class.
        augment: False takes the same centre clip each time.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        *,
        clip_len: int,
        size: int,
        stride: int | None = None,
        area_range: tuple[float, float] = (0.3, 1.0),
        flip_ratio: float = 0.5,
        augment: bool = True,
    ) -> None:
        if clip_len < 1 or size < 1 or (stride is not None and stride < 1):
            raise ValueError(
                f'clip_len, size and stride must be positive, got {clip_len}, {size} and {stride}'
            )
        if not 0 <= flip_ratio <= 1:
            raise ValueError(f'flip_ratio must be between 0 and 1, got {flip_ratio}')
        if not 0 < area_range[0] <= area_range[1] <= 1:
            raise ValueError(f'area_range must be two shares up to 1, got {area_range}')
        self.clip_len, self.size, self.stride, self.augment = clip_len, size, stride, augment
        frames: dict[str, Any] = dict(type='UniformSample', clip_len=clip_len)
        if stride is not None:
            frames = dict(
                type='SampleFrames',
                clip_len=clip_len,
                frame_interval=stride,
                out_of_bound_opt='repeat_last',
            )
        picture = [
            dict(type='RandomResizedCrop', area_range=tuple(area_range)),
            dict(type='Resize', scale=(size, size), keep_ratio=False),
            dict(type='Flip', flip_ratio=flip_ratio),
        ]
        if not augment:
            frames['test_mode'] = True
            picture = [dict(type='ShortSideCrops', size=size, num_crops=1)]
        steps = [dict(type='OpenVideo'), frames, dict(type='DecodeFrames'), *picture]
        steps += [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
        self.steps = Compose(steps)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Make the clip.

        Raises:
            VideoError: the video cannot be opened or decoded.
        """
        return self.steps(results)
