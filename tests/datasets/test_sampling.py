"""Frame indices: the published ones, those of the formulas written out slowly, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sta.datasets.transforms import (
    PROTOCOLS,
    videomae_k400_indices,
    videomae_ssv2_indices,
    videoswin_k400_indices,
    videoswin_ssv2_indices,
)

GOLDEN = Path(__file__).resolve().parents[2] / '../shared/golden/sampling.npz'
LENGTHS = [*range(1, 71), 75, 97, 100, 128, 149, 150, 250, 299, 300, 301, 499, 997, 1800, 3001]


def slow_k400(num_frames: int, num_clips: int = 5, clip_len: int = 16, stride: int = 4) -> list:
    """S = 0, 4, 8, ... < n, last repeated until 16; clip k = S[int(k * step)], 16 of them."""
    frames = [frame for frame in range(num_frames) if frame % stride == 0]
    while len(frames) < clip_len:
        frames.append(frames[-1])
    step = max((len(frames) - clip_len) / (num_clips - 1), 0)
    clips = []
    for k in range(num_clips):
        start = int(k * step)
        clips.append([frames[start + i] for i in range(clip_len)])
    return clips


def slow_ssv2(num_frames: int, num_clips: int = 2, clip_len: int = 16) -> list:
    """t = n / 16; {int(t / 2 + t x)} and {int(t x)} sorted; clip c takes every second from c."""
    t = num_frames / clip_len
    values = []
    for x in range(clip_len):
        values.append(int(t / 2 + t * x))
        values.append(int(t * x))
    values.sort()
    return [[values[i] for i in range(c, 2 * clip_len, 2)] for c in range(num_clips)]


def slow_swin_k400(num_frames: int, num_clips: int = 4, clip_len: int = 32, stride: int = 2):
    """a = (n - 63) / 4; start int(i a + a / 2), 0 in short videos; start + 0, 2, ... modulo n."""
    span = clip_len * stride - 1
    a = (num_frames - span) / num_clips
    starts = [int(i * a + a / 2) if num_frames > span else 0 for i in range(num_clips)]
    return [[(start + stride * x) % num_frames for x in range(clip_len)] for start in starts]


def slow_swin_ssv2(num_frames: int, num_clips: int = 1, clip_len: int = 32) -> list:
    """s = (n - 1) / 32; (round(s i) + round(s (i + 1))) // 2; Python rounds half to even, too."""
    s = (num_frames - 1) / clip_len
    return [[(round(s * i) + round(s * (i + 1))) // 2 for i in range(clip_len)]]


GOLDEN_NAMES = {
    'videomae_k400': ('videomae_k400', 5, 16),
    'videomae_ssv2': ('videomae_ssv2', 2, 16),
    'videoswin_k400': ('swin_k400', 4, 32),
    'videoswin_ssv2': ('swin_ssv2', 1, 32),
}


@pytest.mark.parametrize('protocol', GOLDEN_NAMES)
def test_published_indices_of_every_length(protocol) -> None:
    if not GOLDEN.exists():
        pytest.skip(f'no ground truth at {GOLDEN}')
    golden = np.load(GOLDEN)
    assert len(golden['lengths']) > 400
    name, num_clips, clip_len = GOLDEN_NAMES[protocol]
    for num_frames, expected in zip(golden['lengths'], golden[name]):
        found = PROTOCOLS[protocol](int(num_frames), num_clips=num_clips, clip_len=clip_len)
        np.testing.assert_array_equal(found, expected, err_msg=f'{num_frames} frames')


@pytest.mark.parametrize(
    'fast, slow, num_clips',
    [(videomae_k400_indices, slow_k400, n) for n in (2, 3, 5, 7, 10)]
    + [(videomae_ssv2_indices, slow_ssv2, n) for n in (1, 2)]
    + [(videoswin_k400_indices, slow_swin_k400, n) for n in (1, 4, 10)]
    + [(videoswin_ssv2_indices, slow_swin_ssv2, 1)],
)
@pytest.mark.parametrize('clip_len', [8, 16, 32])
def test_against_the_formulas(fast, slow, num_clips, clip_len) -> None:
    for num_frames in LENGTHS:
        found = fast(num_frames, num_clips=num_clips, clip_len=clip_len)
        assert found.dtype == np.int64 and found.shape == (num_clips, clip_len)
        assert found.tolist() == slow(num_frames, num_clips, clip_len), f'{num_frames} frames'


@pytest.mark.parametrize('stride', [1, 2, 3, 8])
def test_other_strides(stride) -> None:
    for num_frames in LENGTHS:
        found = videomae_k400_indices(num_frames, stride=stride)
        assert found.tolist() == slow_k400(num_frames, stride=stride), f'{num_frames} frames'


def test_k400_by_hand() -> None:
    # 100 frames: 25 strided ones, 9 more than a clip: starts int(2.25 k) = 0, 2, 4, 6, 9
    found = videomae_k400_indices(100)
    assert found[:, 0].tolist() == [0, 8, 16, 24, 36]
    assert found[4].tolist() == list(range(36, 100, 4))
    # 64 frames: exactly one clip, five times
    assert videomae_k400_indices(64).tolist() == [list(range(0, 64, 4))] * 5
    # 6 frames: 0 and 4, and 4 again until there are 16
    assert videomae_k400_indices(6).tolist() == [[0] + [4] * 15] * 5


def test_ssv2_by_hand() -> None:
    # 32 frames: all of them, even ones in the first clip, odd ones in the second
    assert videomae_ssv2_indices(32).tolist() == [list(range(0, 32, 2)), list(range(1, 32, 2))]
    # 8 frames: each four times among the 32 values, twice per clip
    assert videomae_ssv2_indices(8).tolist() == [sorted([*range(8)] * 2)] * 2
    # 40 frames: 2.5 x and 2.5 x + 1.25
    assert videomae_ssv2_indices(40)[0, :5].tolist() == [0, 2, 5, 7, 10]
    assert videomae_ssv2_indices(40)[1, :5].tolist() == [1, 3, 6, 8, 11]


def test_a_single_clip() -> None:
    """K400: the middle of the video. SSV2: the first of the two clips."""
    assert videomae_k400_indices(100, num_clips=1).tolist() == [list(range(16, 80, 4))]
    found = videomae_ssv2_indices(45, num_clips=1)
    assert found.tolist() == videomae_ssv2_indices(45)[:1].tolist()


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_no_index_lies_outside_the_video_or_goes_back_in_time(protocol) -> None:
    for num_frames in LENGTHS:
        found = PROTOCOLS[protocol](num_frames)
        assert found.min() >= 0 and found.max() < num_frames
        # VideoSwin starts short videos again from their first frame.
        loops = protocol == 'videoswin_k400' and num_frames < 64
        assert loops or (np.diff(found, axis=1) >= 0).all()


def test_a_number_of_clips_the_ssv2_protocol_lacks() -> None:
    with pytest.raises(ValueError, match='the VideoMAE SSV2 protocol has 1 or 2 clips, got 3'):
        videomae_ssv2_indices(50, num_clips=3)


@pytest.mark.parametrize('num_clips', [0, -1])
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_no_clips(protocol, num_clips) -> None:
    with pytest.raises(ValueError, match=f'at least 1, got 50 frames and {num_clips} clips'):
        PROTOCOLS[protocol](50, num_clips=num_clips)


@pytest.mark.parametrize('num_frames', [0, -4])
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_no_frames(protocol, num_frames) -> None:
    with pytest.raises(ValueError, match=f'at least 1, got {num_frames} frames'):
        PROTOCOLS[protocol](num_frames)
