"""Frame indices as published, by formula and by hand; views to the pixel, frames by number."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.registry import init_default_scope

import sta.models  # noqa: F401  (heals the host, so that its transforms import)
from sta.datasets.transforms import (
    PROTOCOLS,
    DecodeFrames,
    OpenVideo,
    ProtocolSampleFrames,
    ShortSideCrops,
    videomae_k400_indices,
    videomae_ssv2_indices,
    videoswin_k400_indices,
    videoswin_ssv2_indices,
)
from tests.datasets.movies import frame_numbers, write_movie

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


SHARED = Path(__file__).resolve().parents[2] / '../shared'
CLIPS = {'videomae_k400': 5, 'videomae_ssv2': 2}


def decode(path: Path, protocol: str, num_clips: int) -> dict:
    results = {'filename': str(path)}
    for transform in (
        OpenVideo(),
        ProtocolSampleFrames(protocol=protocol, num_clips=num_clips),
        DecodeFrames(),
    ):
        results = transform(results)
    return results


@pytest.mark.parametrize('protocol, clip', [('videomae_k400', 2), ('videomae_ssv2', 1)])
@pytest.mark.parametrize('video', ['nofi005', 'nofi081'])
def test_published_views_of_real_videos(video, protocol, clip) -> None:
    """Every byte: decord and OpenCV's fixed-point bilinear filter are what the authors ran."""
    for path in (SHARED / 'golden/views.npz', SHARED / f'videos/{video}.mp4'):
        if not path.exists():
            pytest.skip(f'no ground truth at {path}')
    golden, key = np.load(SHARED / 'golden/views.npz'), f'{video}.{protocol}.clip{clip}'
    decoded = decode(SHARED / f'videos/{video}.mp4', protocol, CLIPS[protocol])
    views = np.stack(ShortSideCrops()(decoded)['imgs'])
    views = views.reshape(3, CLIPS[protocol], 16, 224, 224, 3)[:, clip]
    for crop in range(3):
        expected = golden[f'{key}.crop{crop}.mean_per_frame']
        found = views[crop].astype(np.float64).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)
    np.testing.assert_array_equal(views[2, 7], golden[f'{key}.crop2.frame7'])


def coordinates(height: int, width: int) -> np.ndarray:
    """(H, W, 3) whose pixels hold their row, their column and 7; up to 256 of each."""
    frame = np.full((height, width, 3), 7, np.uint8)
    frame[..., 0] = np.arange(height)[:, None]
    frame[..., 1] = np.arange(width)[None]
    return frame


def crop_corners(height: int, width: int, **settings: int) -> list[tuple[int, int]]:
    """(row, column) of the top left pixel of each crop; checks that the rest follows from it."""
    size = settings['size']
    results = ShortSideCrops(**settings)({'imgs': [coordinates(height, width)]})
    assert results['img_shape'] == (size, size)
    corners = []
    for crop in results['imgs']:
        row, column = map(int, crop[0, 0, :2])
        expected = coordinates(height, width)[row : row + size, column : column + size]
        np.testing.assert_array_equal(crop, expected)
        assert crop.shape == (size, size, 3)
        corners.append((row, column))
    return corners


@pytest.mark.parametrize('long_side', [24, 25, 26, 31, 40, 47, 200])
@pytest.mark.parametrize('num_crops', [2, 3, 4, 5])
def test_crop_positions_without_resizing(long_side, num_crops) -> None:
    starts = [int(k * (long_side - 24) / (num_crops - 1)) for k in range(num_crops)]
    landscape = crop_corners(24, long_side, size=24, num_crops=num_crops)
    portrait = crop_corners(long_side, 24, size=24, num_crops=num_crops)
    assert landscape == [(0, start) for start in starts]
    assert portrait == [(start, 0) for start in starts]


def test_crop_positions_by_hand() -> None:
    assert crop_corners(24, 35, size=24, num_crops=3) == [(0, 0), (0, 5), (0, 11)]
    assert crop_corners(34, 24, size=24, num_crops=3) == [(0, 0), (5, 0), (10, 0)]
    assert crop_corners(24, 24, size=24, num_crops=3) == [(0, 0)] * 3
    assert crop_corners(24, 35, size=24, num_crops=1) == [(0, 5)]
    assert crop_corners(34, 24, size=24, num_crops=1) == [(5, 0)]


def bilinear(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Two-tap linear filter, pixel centres at half integers, edges repeated; float64."""
    for axis, size in ((0, height), (1, width)):
        old = frame.shape[axis]
        places = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(places).astype(int)
        share = (places - low).reshape([-1 if i == axis else 1 for i in range(3)])
        below = np.take(frame, low, axis).astype(np.float64)
        above = np.take(frame, np.minimum(low + 1, old - 1), axis).astype(np.float64)
        frame = below * (1 - share) + above * share
    return frame


@pytest.mark.parametrize(
    'height, width, new_height, new_width',
    [
        (48, 97, 32, 64),  # int(32 * 97 / 48) = int(64.67)
        (97, 48, 64, 32),
        (45, 45, 32, 32),
        (33, 50, 32, 48),  # int(48.48)
        (51, 33, 49, 32),  # int(49.45)
        (20, 31, 32, 49),  # enlarged: int(49.6)
        (17, 9, 60, 32),  # int(60.44)
    ],
)
def test_resizing_of_the_short_side(height, width, new_height, new_width) -> None:
    generator = np.random.default_rng(0)
    frame = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    resized = bilinear(frame, new_height, new_width)
    room = max(new_height, new_width) - 32
    results = ShortSideCrops(size=32)({'imgs': [frame]})
    for crop, start in zip(results['imgs'], [0, int(room / 2), room]):
        rows, columns = (start, 0) if height > width else (0, start)
        expected = resized[rows : rows + 32, columns : columns + 32]
        # rounding to whole levels; a pixel's shift would cost tens
        assert np.abs(crop - expected).max() <= 1.0


def test_frames_are_ordered_by_crop_then_by_time() -> None:
    frames = [np.full((24, 36, 3), level, np.uint8) for level in (10, 20, 30)]
    for frame in frames:
        frame[:, :12] += 1  # left third
    results = ShortSideCrops(size=24, num_crops=2)({'imgs': frames, 'label': 4})
    left = [(int(image[0, 0, 0]), int(image[0, -1, 0])) for image in results['imgs']]
    assert left == [(11, 10), (21, 20), (31, 30), (10, 10), (20, 20), (30, 30)]
    assert results['label'] == 4


@pytest.mark.parametrize('settings', [{'size': 0}, {'num_crops': 0}, {'size': -3, 'num_crops': 2}])
def test_crops_that_cannot_be(settings) -> None:
    values = {'size': 224, 'num_crops': 3, **settings}
    message = f'must be positive, got {values["size"]} and {values["num_crops"]}'
    with pytest.raises(ValueError, match=message):
        ShortSideCrops(**settings)


def test_opening_a_video(tmp_path) -> None:
    path = write_movie(tmp_path / 'a film.mp4', num_frames=13, rate=10)
    results = OpenVideo()({'filename': str(path), 'label': 3})
    assert results['total_frames'] == 13
    assert results['avg_fps'] == pytest.approx(10, abs=1e-3)
    assert results['label'] == 3
    assert frame_numbers(results['video_reader'].frames([0, 5, 12])) == [0, 5, 12]


def test_frames_of_several_clips_are_decoded_once(tmp_path, monkeypatch) -> None:
    path = write_movie(tmp_path / 'film.mp4', num_frames=9)
    results = OpenVideo()({'filename': str(path)})
    reader, asked = results['video_reader'], []
    frames = reader.frames
    monkeypatch.setattr(reader, 'frames', lambda inds: (asked.append(inds), frames(inds))[1])
    results = DecodeFrames()({**results, 'frame_inds': np.array([[4, 2, 8], [8, 2, 0]])})
    assert asked == [[0, 2, 4, 8]]
    assert frame_numbers(np.stack(results['imgs'])) == [4, 2, 8, 8, 2, 0]
    assert results['imgs'][2] is results['imgs'][3]
    assert results['img_shape'] == results['original_shape'] == (48, 64)
    assert 'video_reader' not in results


@pytest.mark.parametrize('num_frames', [3, 20, 40])
@pytest.mark.parametrize(
    'protocol, indices', [('videomae_k400', videomae_k400_indices), ('videomae_ssv2', None)]
)
def test_the_frames_that_are_decoded(protocol, indices, num_frames, tmp_path) -> None:
    """From a file to pixels: clip by clip, each frame the one the protocol names."""
    path = write_movie(tmp_path / 'film.mp4', num_frames=num_frames)
    expected = (indices or videomae_ssv2_indices)(num_frames).ravel().tolist()
    decoded = decode(path, protocol, CLIPS[protocol])
    assert decoded['frame_inds'].tolist() == expected
    assert (decoded['clip_len'], decoded['num_clips']) == (16, CLIPS[protocol])
    assert frame_numbers(np.stack(decoded['imgs'])) == expected


def test_an_unknown_protocol() -> None:
    message = (
        r"protocol must be one of \['mmaction2', 'videomae_k400', .*'videoswin_ssv2'\], got 'k400'"
    )
    with pytest.raises(ValueError, match=message):
        ProtocolSampleFrames(protocol='k400', num_clips=5)


def test_a_number_of_clips_the_protocol_lacks_is_refused_when_built() -> None:
    """Not at the first video, which would then be blamed for it."""
    with pytest.raises(ValueError, match='1 or 2 clips, got 3'):
        ProtocolSampleFrames(protocol='videomae_ssv2', num_clips=3)
    with pytest.raises(ValueError, match='0 clips'):
        ProtocolSampleFrames(protocol='videomae_k400', num_clips=0)


@pytest.mark.parametrize(
    'settings',
    [
        {'type': 'OpenVideo', 'num_threads': 2},
        {'type': 'ProtocolSampleFrames', 'protocol': 'videomae_ssv2', 'num_clips': 1},
        {'type': 'ShortSideCrops', 'size': 96, 'num_crops': 2},
    ],
)
def test_configs_build_them_and_their_settings_can_be_read(settings) -> None:
    transform = TRANSFORMS.build(settings)
    shown = repr(transform)
    assert shown.startswith(settings['type'])
    for name, value in settings.items():
        assert name == 'type' or f'{name}={value!r}' in shown


@pytest.mark.parametrize(
    ('height', 'width'), [(256, 340), (240, 320), (341, 257), (360, 640), (224, 224), (77, 101)]
)
def test_videoswins_views_are_those_of_mmaction2s_transforms(height: int, width: int) -> None:
    """Its authors resized with mmcv and took ThreeCrop: pixel for pixel, in this order."""
    frames = list(np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8))
    expected: dict = {'imgs': list(frames), 'img_shape': (height, width), 'modality': 'RGB'}
    for step in (dict(type='Resize', scale=(-1, 224)), dict(type='ThreeCrop', crop_size=224)):
        expected = TRANSFORMS.build(step)(expected)
    found = ShortSideCrops(size=224, num_crops=3, rule='videoswin')({'imgs': list(frames)})
    np.testing.assert_array_equal(np.stack(found['imgs']), np.stack(expected['imgs']))


def test_the_middle_of_videoswins_crops() -> None:
    expected = {'imgs': [coordinates(64, 101)], 'img_shape': (64, 101), 'modality': 'RGB'}
    expected = TRANSFORMS.build(dict(type='CenterCrop', crop_size=64))(expected)
    found = ShortSideCrops(size=64, num_crops=1, rule='videoswin')({'imgs': [coordinates(64, 101)]})
    np.testing.assert_array_equal(found['imgs'][0], expected['imgs'][0])


@pytest.mark.parametrize(('num_crops', 'lefts'), [(2, [0, 30]), (4, [0, 10, 20, 30]), (5, None)])
def test_any_number_of_videoswins_crops(num_crops: int, lefts: list[int] | None) -> None:
    lefts = lefts or [0, 7, 14, 21, 28]
    settings = dict(size=64, num_crops=num_crops, rule='videoswin')
    found = ShortSideCrops(**settings)({'imgs': [coordinates(64, 94)]})['imgs']
    assert [int(view[0, 0, 1]) for view in found] == lefts


def test_an_unknown_rule() -> None:
    with pytest.raises(ValueError, match="'videomae' or 'videoswin', got 'mmcv'"):
        ShortSideCrops(rule='mmcv')


@pytest.mark.parametrize('num_frames', [1, 40, 64, 250, 300])
@pytest.mark.parametrize(
    ('settings', 'theirs'),
    [
        (
            dict(num_clips=5, stride=4),
            dict(type='SampleFrames', clip_len=16, frame_interval=4, num_clips=5),
        ),
        (
            dict(num_clips=4, clip_len=32, stride=2),
            dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=4),
        ),
        (dict(num_clips=2), dict(type='UniformSample', clip_len=16, num_clips=2)),
    ],
)
def test_mmaction2s_own_frames(settings: dict, theirs: dict, num_frames: int) -> None:
    given = {'total_frames': num_frames, 'start_index': 0, 'avg_fps': 30}
    found = ProtocolSampleFrames(protocol='mmaction2', **settings)(dict(given))
    expected = TRANSFORMS.build({**theirs, 'test_mode': True})(dict(given))
    assert found['frame_inds'].tolist() == expected['frame_inds'].reshape(-1).tolist()
    assert (found['num_clips'], found['clip_len']) == (expected['num_clips'], expected['clip_len'])


def test_mmaction2s_frames_are_not_the_published_ones() -> None:
    """Which is why the choice is there."""
    settings, video = dict(num_clips=5, stride=4), {'total_frames': 250}
    theirs = ProtocolSampleFrames(protocol='mmaction2', **settings)(dict(video))['frame_inds']
    published = ProtocolSampleFrames(protocol='videomae_k400', **settings)(dict(video))[
        'frame_inds'
    ]
    assert theirs.tolist() != published.tolist()


def test_a_stride_where_the_protocol_has_none() -> None:
    with pytest.raises(ValueError, match='videomae_ssv2 has no stride, got 4'):
        ProtocolSampleFrames(protocol='videomae_ssv2', num_clips=2, stride=4)


def half_dark(folder: Path) -> Path:
    """20 frames, black on the left, and on the right grey of level 10 i."""
    with av.open(str(folder / 'half.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=10, options={'crf': '5'})
        stream.width, stream.height, stream.pix_fmt = 128, 64, 'yuv420p'
        for i in range(20):
            picture = np.zeros((64, 128, 3), np.uint8)
            picture[:, 64:] = 10 * i
            frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder / 'half.mp4'


def test_a_clip_for_training(tmp_path: Path) -> None:
    """Which frames, what a mirror does, and that the label stays."""
    init_default_scope('mmaction')
    path = str(half_dark(tmp_path))

    def clip(**settings: object) -> np.ndarray:
        made = TRANSFORMS.build(dict(type='TrainingClip', clip_len=4, size=32, **settings))
        packed = made(dict(filename=path, label=3, start_index=0, modality='RGB'))
        assert packed['inputs'].shape == (1, 3, 4, 32, 32)
        assert packed['data_samples'].gt_label.item() == 3
        return packed['inputs'][0, 0].numpy()  # frames, rows, columns of red

    steady = clip(augment=False)
    assert np.array_equal(steady, clip(augment=False))
    # The middle of each quarter of the video; the centre of the picture, half of it black.
    assert steady[:, :, 20:].mean((1, 2)) == pytest.approx([20, 70, 120, 170], abs=12)
    assert steady[:, :, :12].max() < 12
    whole = dict(area_range=(1.0, 1.0), stride=2)
    for flip, right in ((0.0, slice(20, None)), (1.0, slice(0, 12))):
        for _ in range(4):
            moved = clip(flip_ratio=flip, **whole)
            steps = np.diff(moved[:, :, right].mean((1, 2)))
            assert steps == pytest.approx([20, 20, 20], abs=6)
            assert moved[:, :, :12].mean() == pytest.approx(0, abs=12) or flip
    for wrong, said in (
        (dict(flip_ratio=2), 'flip_ratio must be between 0 and 1, got 2'),
        (dict(area_range=(0, 1)), 'area_range'),
        (dict(stride=0), 'must be positive'),
    ):
        with pytest.raises(ValueError, match=said):
            clip(**wrong)
