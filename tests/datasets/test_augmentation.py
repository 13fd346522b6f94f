"""RandAugment's operations and draws; repeats of a clip, independent of each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.registry import FUNCTIONS, init_default_scope

import sta.datasets.transforms  # noqa: F401  (registers them)
import sta.models  # noqa: F401  (heals the host, so that its transforms import)
from sta.datasets.augmentation import (
    COLLATE,
    FILL,
    OPERATIONS,
    ClipRandAugment,
    RepeatedAugmentation,
)
from sta.datasets.video_list import VideoListDataset
from sta.errors import DataError
from tests.tools.tiny import write_video

PACK = [
    {'type': 'FormatShape', 'input_format': 'NCTHW'},
    {'type': 'PackActionInputs'},
]
FULL = {'magnitude': 10, 'magnitude_std': 0, 'num_ops': 1, 'prob': 1.0}
EXACT = ('posterize', 'solarize', 'solarize_add', 'invert', 'brightness', 'color', 'contrast')
SIGNED = ('brightness', 'color', 'contrast', 'rotate', 'translate_x', 'translate_y')


def noise(seed: int = 0, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def changed(name: str, frame: np.ndarray, **settings: float) -> np.ndarray:
    transform = ClipRandAugment(**{**FULL, **settings}, operations=[name])
    [found] = transform({'imgs': [frame]})['imgs']
    assert found.dtype == np.uint8 and found.shape == frame.shape
    return found


def grey(frame: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma, (H, W, 1)."""
    return (frame @ np.array([0.299, 0.587, 0.114])).round()[..., None]


def blended(frame: np.ndarray, other: np.ndarray | float, factor: float) -> np.ndarray:
    return np.clip(other + factor * (frame.astype(float) - other), 0, 255)


def reference(name: str, frame: np.ndarray, sign: int) -> np.ndarray:
    """From the definitions, at full strength."""
    values, factor = frame.astype(int), 1 + 0.9 * sign
    return {
        'posterize': lambda: values // 128 * 128,  # one bit is kept
        'solarize': lambda: 255 - values,  # every value is at or above 0
        'solarize_add': lambda: np.where(values < 128, np.minimum(255, values + 110), values),
        'invert': lambda: 255 - values,
        'brightness': lambda: blended(frame, 0, factor),
        'color': lambda: blended(frame, grey(frame), factor),
        'contrast': lambda: blended(frame, round(grey(frame).mean()), factor),
    }[name]()


@pytest.mark.parametrize('name', EXACT)
def test_values_at_full_strength(name) -> None:
    frame = noise()
    np.random.seed(0)
    signs_seen = set()
    for _ in range(16):
        found = changed(name, frame).astype(float)
        fits = [s for s in (1, -1) if abs(found - reference(name, frame, s)).max() <= 1]
        assert fits, name
        signs_seen.add(fits[0])
    assert signs_seen == ({1, -1} if name in SIGNED else {1})


def test_half_strength() -> None:
    frame = noise()
    half = changed('posterize', frame, magnitude=5)
    np.testing.assert_array_equal(half, frame // 64 * 64)  # two bits of four are kept
    half = changed('solarize', frame, magnitude=5)
    np.testing.assert_array_equal(half, np.where(frame < 128, frame, 255 - frame))
    half = changed('solarize_add', frame, magnitude=5)
    np.testing.assert_array_equal(half, np.where(frame < 128, np.minimum(255, frame + 55.0), frame))


@pytest.mark.parametrize(('name', 'axis'), [('translate_x', 1), ('translate_y', 0)])
def test_shifts_and_what_they_uncover(name, axis) -> None:
    """0.45 of 20 rows are 9, of 40 columns 18; the rest is filled with ImageNet's mean."""
    frame = noise(height=20, width=40)
    pixels, found_both = (18, 9)[1 - axis], set()
    np.random.seed(1)
    for _ in range(16):
        found = np.moveaxis(changed(name, frame), axis, 0)
        moved = np.moveaxis(frame, axis, 0)
        for sign, (kept, bare, source) in {
            'back': (found[:-pixels], found[-pixels:], moved[pixels:]),
            'forth': (found[pixels:], found[:pixels], moved[:-pixels]),
        }.items():
            if np.array_equal(kept, source):
                assert (bare == FILL).all()
                found_both.add(sign)
    assert found_both == {'back', 'forth'}


def test_a_rotation_moves_a_mark_by_its_angle() -> None:
    frame = np.zeros((101, 101, 3), np.uint8)
    frame[49:52, 89:92] = 255  # 40 pixels to the right of the middle
    angles = set()
    np.random.seed(2)
    for _ in range(12):
        rows, columns = np.nonzero(changed('rotate', frame)[..., 0] > 180)
        across, down = columns.mean() - 50, rows.mean() - 50
        assert np.hypot(across, down) == pytest.approx(40, abs=1)
        angles.add(round(np.degrees(np.arctan2(-down, across))))
    assert len(angles) == 2
    assert sorted(angles) == pytest.approx([-30, 30], abs=1)


def test_a_shear_moves_rows_in_proportion() -> None:
    frame = np.zeros((100, 300, 3), np.uint8)
    frame[:, 149:152] = 255
    np.random.seed(3)
    slopes = set()
    for _ in range(12):
        found = changed('shear_x', frame)
        middles = [np.nonzero(row[:, 0] > 180)[0].mean() for row in found]
        slopes.add(round(np.polyfit(range(100), middles, 1)[0], 2))
    assert sorted(slopes) == pytest.approx([-0.3, 0.3], abs=0.01)


def test_contrast_and_histogram() -> None:
    frame = (noise() // 4 + 60).astype(np.uint8)  # 60 to 123
    stretched = changed('auto_contrast', frame)
    assert stretched.min() == 0 and stretched.max() == 255
    flat = np.histogram(changed('equalize', frame)[..., 0], bins=8, range=(0, 256))[0]
    assert flat.min() > 0.5 * flat.mean()
    assert (np.histogram(frame[..., 0], bins=8, range=(0, 256))[0] == 0).sum() == 5


@pytest.mark.parametrize('name', OPERATIONS)
def test_all_frames_of_a_clip_change_in_the_same_way(name) -> None:
    np.random.seed(4)
    transform = ClipRandAugment(num_ops=3, prob=1.0, magnitude_std=3, operations=[name])
    frame = noise() // 2 + 50
    given = [frame.copy() for _ in range(5)]
    found = transform({'imgs': given})['imgs']
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert all(np.array_equal(frame, other) for other in given)  # the source is left alone
    assert not np.array_equal(found[0], frame)


def test_strengths_and_operations_are_drawn_as_said() -> None:
    """At magnitude 9 with deviation 0.5, cut off at 10: 2.5 % at the end, a mean of 8.99."""
    np.random.seed(5)
    transform = ClipRandAugment(magnitude=9, magnitude_std=0.5, num_ops=2, prob=0.5)
    draws = [transform._draw() for _ in range(6000)]
    lengths = Counter(len(drawn) for drawn in draws)
    for number, share in enumerate((0.25, 0.5, 0.25)):
        assert lengths[number] / 6000 == pytest.approx(share, abs=0.03)
    names = Counter(name for drawn in draws for name, _ in drawn)
    assert set(names) == set(OPERATIONS)
    assert max(names.values()) < 1.35 * min(names.values())
    degrees = np.array([amount for drawn in draws for name, amount in drawn if name == 'rotate'])
    strengths = abs(degrees) / 3
    assert strengths.mean() == pytest.approx(8.99, abs=0.08)
    assert strengths.std() == pytest.approx(0.49, abs=0.08)
    assert strengths.max() <= 10 and (strengths == 10).mean() == pytest.approx(0.025, abs=0.025)
    assert (degrees > 0).mean() == pytest.approx(0.5, abs=0.1)


def test_a_probability_of_zero_changes_nothing() -> None:
    frame = noise()
    [found] = ClipRandAugment(prob=0.0)({'imgs': [frame]})['imgs']
    assert np.array_equal(found, frame)


@pytest.mark.parametrize(
    ('transform', 'settings', 'said'),
    [
        (RepeatedAugmentation, {'num_repeats': 0, 'transforms': PACK}, 'at least 1, got 0'),
        (RepeatedAugmentation, {'num_repeats': 2.0, 'transforms': PACK}, 'got 2.0'),
        (RepeatedAugmentation, {'num_repeats': 2, 'transforms': []}, 'every repeat would be the'),
        (ClipRandAugment, {'magnitude': 11}, 'magnitude must lie between 0 and 10, got 11'),
        (ClipRandAugment, {'magnitude_std': -1}, 'magnitude_std must not be negative, got -1'),
        (ClipRandAugment, {'num_ops': 0}, 'num_ops must be a whole number of at least 1, got 0'),
        (ClipRandAugment, {'prob': 1.5}, 'prob must lie between 0 and 1, got 1.5'),
        (ClipRandAugment, {'operations': ['rotate', 'blur']}, "got \\['rotate', 'blur'\\]"),
        (ClipRandAugment, {'operations': []}, 'operations must be among auto_contrast, '),
    ],
)
def test_wrong_settings(transform, settings, said) -> None:
    with pytest.raises(ValueError, match=said):
        transform(**settings)


def test_it_is_registered() -> None:
    built = TRANSFORMS.build({'type': 'ClipRandAugment', 'magnitude': 7})
    assert 'magnitude=7' in repr(built)


FLIP = {'type': 'Flip', 'flip_ratio': 0.5}


@TRANSFORMS.register_module()
class CountedOpening:
    """A transform that counts how often it runs."""

    runs = 0

    def __call__(self, results: dict) -> dict:
        type(self).runs += 1
        return results


@pytest.fixture
def build(tmp_path: Path):
    """Build a data set of three videos with labels 0, 1, 2 and a pipeline."""
    init_default_scope('mmaction')
    lines = []
    for i in range(3):
        write_video(tmp_path / f'{i}.mp4', seed=i, num_frames=20)
        lines.append(f'{i}.mp4 {i}\n')
    (tmp_path / 'list.txt').write_text(''.join(lines))

    def make(transforms: list[dict], num_repeats: int = 2, **settings) -> VideoListDataset:
        pipeline = [
            {'type': 'CountedOpening'},
            {'type': 'OpenVideo'},
            {'type': 'SampleFrames', 'clip_len': 4, 'frame_interval': 2},
            {'type': 'DecodeFrames'},
            {
                'type': 'RepeatedAugmentation',
                'num_repeats': num_repeats,
                'transforms': [*transforms, *PACK],
            },
        ]
        return DATASETS.build(
            {
                'type': 'VideoListDataset',
                'ann_file': str(tmp_path / 'list.txt'),
                'data_prefix': {'video': str(tmp_path)},
                'pipeline': pipeline,
                **settings,
            }
        )

    return make


def test_without_augmentation_every_repeat_is_the_same(build) -> None:
    CountedOpening.runs = 0
    first, second, third = build([], num_repeats=3)[1]
    assert CountedOpening.runs == 1  # one decoding
    assert torch.equal(first['inputs'], second['inputs'])
    assert torch.equal(first['inputs'], third['inputs'])
    assert first['inputs'].shape[:3] == (1, 3, 4)
    assert first['inputs'].data_ptr() != second['inputs'].data_ptr()
    for item in (first, second, third):
        assert item['data_samples'].gt_label.tolist() == [1]
        assert item['data_samples'].filename.endswith('1.mp4') and item['data_samples'].index == 1


def test_repeats_are_augmented_independently(build) -> None:
    """mmaction2 flips in place: the second repeat must not see the first one's frames."""
    flipping, plain, seen = build([FLIP]), build([]), set()
    for seed in range(16):
        np.random.seed(seed)
        both = flipping[0]
        np.random.seed(seed)
        wanted = plain[0][0]['inputs']  # the same frames
        assert not torch.equal(wanted, wanted.flip(-1))
        straight = [torch.equal(item['inputs'], wanted) for item in both]
        mirrored = [torch.equal(item['inputs'], wanted.flip(-1)) for item in both]
        assert [not mirror for mirror in mirrored] == straight
        seen.add(tuple(straight))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


def test_a_batch_is_flat(build) -> None:
    dataset = build([], num_repeats=2)
    batch = FUNCTIONS.get(COLLATE)([dataset[2], dataset[0]])
    assert [sample.gt_label.item() for sample in batch['data_samples']] == [2, 2, 0, 0]
    assert len(batch['inputs']) == 4


def test_evaluation_does_not_repeat(build) -> None:
    with pytest.raises(DataError, match='RepeatedAugmentation is for training'):
        build([], test_mode=True)
