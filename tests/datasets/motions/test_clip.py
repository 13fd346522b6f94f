"""A clip depends on its seed, split and index alone, and is a proper H.264 file."""

from __future__ import annotations

import io
import itertools

import av
import decord
import numpy as np
import pytest

from sta.datasets.motions.clips import ClipSource

SIZE = 64


def key_frames(video: bytes) -> tuple[list[int], str, str]:
    """Places of the key frames, the codec's name and the pixel format."""
    with av.open(io.BytesIO(video)) as container:
        frames = list(container.decode(video=0))
        context = container.streams.video[0].codec_context
        places = [i for i, frame in enumerate(frames) if frame.key_frame]
        return places, context.name, frames[0].format.name


@pytest.mark.parametrize('index', [0, 5, 8, 123456])
def test_a_clip_is_the_same_in_every_call(index: int) -> None:
    first, second = ClipSource('val', seed=7, size=SIZE), ClipSource('val', seed=7, size=SIZE)
    second.frames(index + 1)  # what was drawn before must not matter
    np.testing.assert_array_equal(first.frames(index), second.frames(index))
    assert len({first.mp4(index) for _ in range(4)} | {second.mp4(index)}) == 1


def test_every_part_of_the_name_changes_the_clip() -> None:
    base = dict(split='val', seed=0, size=SIZE)
    clips = [
        ClipSource(**base).mp4(0),
        ClipSource(**base).mp4(10),
        ClipSource(**{**base, 'seed': 1}).mp4(0),
        ClipSource(**{**base, 'split': 'train'}).mp4(0),
    ]
    assert len(set(clips)) == len(clips)


def test_splits_share_no_random_stream() -> None:
    """Over seeds and indices no first draw of train is one of val."""
    draws = {
        split: {
            generator.integers(2**63)
            for seed, index in itertools.product(range(5), range(40))
            for generator in ClipSource(split, seed=seed).generators(index)
        }
        for split in ('train', 'val')
    }
    assert len(draws['train']) == len(draws['val']) == 5 * 40 * 2
    assert not draws['train'] & draws['val']


@pytest.mark.parametrize('size', [64, 112])
def test_decord_and_pyav_read_every_frame(size: int) -> None:
    source = ClipSource('train', size=size)
    for index in range(3):
        frames, video = source.frames(index), source.mp4(index)
        assert frames.shape[1:] == (size, size, 3)
        assert 28 <= len(frames) <= 40
        reader = decord.VideoReader(io.BytesIO(video))
        assert len(reader) == len(frames)
        assert reader.get_avg_fps() == 16
        decoded = reader.get_batch(range(len(reader))).asnumpy()
        # Each frame is in its place; noise, coding and 4:2:0 colour cost some grey levels.
        assert np.abs(decoded.astype(int) - frames).mean(axis=(1, 2, 3)).max() < 8
        places, codec, pixels = key_frames(video)
        assert (codec, pixels) == ('h264', 'yuv420p')
        assert places == list(range(0, len(frames), 16))


def test_lengths_vary() -> None:
    source = ClipSource('train', size=SIZE)
    lengths = {source.scene(index).num_frames for index in range(60)}
    assert min(lengths) >= 28 and max(lengths) <= 40 and len(lengths) > 6


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(split='test'), "unknown split 'test': choose one of train, val"),
        (dict(split='val', seed=-1), 'the seed must not be negative, got -1'),
        (dict(split='val', size=72), 'multiple of 16 and at least 64, got 72'),
        (dict(split='val', size=48), 'multiple of 16 and at least 64, got 48'),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipSource(**settings)
