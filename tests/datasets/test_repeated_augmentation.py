"""Repeats of one decoded clip: independent of each other, flat in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.registry import FUNCTIONS, init_default_scope

import sta.datasets.transforms  # noqa: F401  (registers them)
import sta.models  # noqa: F401  (heals the host, so that its transforms import)
from sta.datasets.augmentation import COLLATE, RepeatedAugmentation
from sta.datasets.video_list import VideoListDataset
from sta.errors import DataError
from tests.tools.tiny import write_video

PACK = [
    {'type': 'FormatShape', 'input_format': 'NCTHW'},
    {'type': 'PackActionInputs'},
]
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


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        ({'num_repeats': 0, 'transforms': PACK}, 'whole number of at least 1, got 0'),
        ({'num_repeats': 2.0, 'transforms': PACK}, 'got 2.0'),
        ({'num_repeats': 2, 'transforms': []}, 'every repeat would be the same'),
    ],
)
def test_wrong_settings(settings, said) -> None:
    init_default_scope('mmaction')
    with pytest.raises(ValueError, match=said):
        RepeatedAugmentation(**settings)
