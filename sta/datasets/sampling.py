"""Which frames VideoMAE's published evaluations look at, index for index.

mmaction2's own samplers pick other frames for most video lengths, which moves top-1 by tenths of a
point to points; results are only comparable with the published ones under the published indices.
"""

from __future__ import annotations

import numpy as np


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


def _check_counts(num_frames: int, num_clips: int) -> None:
    if num_frames < 1 or num_clips < 1:
        raise ValueError(
            f'frames and clips must be at least 1, got {num_frames} frames and {num_clips} clips'
        )


PROTOCOLS = {'videomae_k400': videomae_k400_indices, 'videomae_ssv2': videomae_ssv2_indices}
