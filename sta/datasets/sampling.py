"""Which frames the published evaluations of VideoMAE and VideoSwin look at, index for index.

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
