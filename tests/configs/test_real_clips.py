"""Real clips through every protocol, from the file to the model's input, against plain code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import decord
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from sta.datasets.video_list import VideoFilesDataset
from tests.configs.shipped import config_of

CLIPS = sorted((Path(__file__).resolve().parents[2] / '../shared/videos').glob('*.mp4'))


def videomae_k400(n: int) -> list[list[int]]:
    strided = list(range(0, n, 4))
    strided += [strided[-1]] * (16 - len(strided))
    step = max((len(strided) - 16) / 4, 0)
    return [strided[int(k * step) :][:16] for k in range(5)]


def videomae_ssv2(n: int) -> list[list[int]]:
    t = n / 16
    both = sorted([int(t / 2 + t * x) for x in range(16)] + [int(t * x) for x in range(16)])
    return [both[0::2], both[1::2]]


def videoswin_k400(n: int) -> list[list[int]]:
    a = (n - 63) / 4
    starts = [int(i * a + a / 2) if n > 63 else 0 for i in range(4)]
    return [[(start + 2 * j) % n for j in range(32)] for start in starts]


def videoswin_ssv2(n: int) -> list[list[int]]:
    s = (n - 1) / 32
    return [[int((np.round(s * i) + np.round(s * (i + 1))) // 2) for i in range(32)]]


def crop(frame: np.ndarray, place: int, rule: str) -> np.ndarray:
    """Short side to 224, then the square at one of three places, in the order of its authors."""
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    if rule == 'videomae':
        resized = int(224 * long / short)
        start = int(place * (resized - 224) / 2)
    else:
        resized = int(long * (224 / short) + 0.5)
        start = (0, 2, 1)[place] * ((resized - 224) // 2)
    size = (224, resized) if height > width else (resized, 224)
    if short != 224:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    if height > width:
        return frame[start : start + 224]
    return frame[:, start : start + 224]


def slow(clip: Path) -> Any:
    return pytest.param(clip, marks=pytest.mark.slow, id=clip.stem)


PROTOCOLS = {
    'sta_vit_k400': (videomae_k400, 'videomae'),
    'sta_vit_ssv2': (videomae_ssv2, 'videomae'),
    'sta_swin_k400': (videoswin_k400, 'videoswin'),
    'sta_swin_ssv2': (videoswin_ssv2, 'videoswin'),
}


@pytest.mark.parametrize('clip', [*CLIPS[:1], *map(slow, CLIPS[1:])] or [None])
@pytest.mark.parametrize('name', PROTOCOLS)
def test_every_view(name: str, clip: Path | None) -> None:
    """Views stand crop by crop, the clips of each; of every view its first and last frame."""
    if clip is None:
        pytest.skip('no real clips beside the repository')
    init_default_scope('mmaction')
    frames_of, rule = PROTOCOLS[name]
    pipeline = config_of(name).test_dataloader.dataset.pipeline
    views = VideoFilesDataset([clip], pipeline=pipeline)[0]['inputs'].numpy()
    reader = decord.VideoReader(str(clip), num_threads=1)
    clips = frames_of(len(reader))
    assert views.shape == (3 * len(clips), 3, len(clips[0]), 224, 224)
    for view, found in enumerate(views):
        place, number = divmod(view, len(clips))
        for frame in (0, -1):
            expected = crop(reader[clips[number][frame]].asnumpy(), place, rule)
            np.testing.assert_array_equal(found[:, frame].transpose(1, 2, 0), expected)
