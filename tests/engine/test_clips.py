"""Videos that are listed, their views in turn, the middle view pixel for pixel, wrong pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.testing import assert_close

import sta.datasets.transforms  # noqa: F401  (registers them, as configs ask for)
from sta.datasets.decoding import open_video
from sta.datasets.video_list import BrokenVideo
from sta.engine.clips import (
    files_dataset,
    listed_videos,
    middle_crop,
    read_views,
    stacked_views,
)
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.errors import ConfigError, DataError
from tests.tools.tiny import HEIGHT, NUM_VIDEOS, ROOT, WIDTH, Tiny, write_video

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture(scope='module')
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('views') / 'a.mp4'
    write_video(path, seed=3, num_frames=40)
    return path


@pytest.fixture(autouse=True)
def scope() -> None:
    """As building a model does."""
    init_default_scope('mmaction')


class Preprocessing(torch.nn.Module):
    """All that is needed of a model here."""

    def __init__(self) -> None:
        super().__init__()
        settings = dict(type='ActionDataPreprocessor', mean=MEAN, std=STD, format_shape='NCTHW')
        self.data_preprocessor = MODELS.build(settings)


def views_of(video: Path, *steps: dict, last: str = 'NCTHW'):
    pipeline = [
        dict(type='OpenVideo'),
        *steps,
        dict(type='FormatShape', input_format=last),
        dict(type='PackActionInputs'),
    ]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    return next(read_views(config, Preprocessing(), [video]))


def decoded(video: Path, indices: list[int]) -> np.ndarray:
    return open_video(video).frames(indices)


@pytest.mark.parametrize('rule', ['videomae', 'videoswin'])
def test_the_middle_clip_and_the_middle_crop(video: Path, rule: str) -> None:
    """Three crops of one rule come left, middle, right, of the other left, right, middle."""
    view = views_of(
        video,
        dict(
            type='ProtocolSampleFrames', protocol='videomae_k400', num_clips=5, clip_len=4, stride=2
        ),
        dict(type='DecodeFrames'),
        dict(type='ShortSideCrops', size=HEIGHT, num_crops=3, rule=rule),
    )
    left = (WIDTH - HEIGHT) // 2
    # 20 strided frames, room for starts 0 to 16: clip 3 of 5 starts at the 8th of them
    frames = decoded(video, [16, 18, 20, 22])[:, :, left : left + HEIGHT]
    assert (view.frames == frames).all()
    assert view.note == 'clip 3 of 5, the middle of 3 crops'
    expected = (frames - np.array(MEAN)) / np.array(STD)
    assert view.clip.shape == (1, 3, 4, HEIGHT, HEIGHT)
    np.testing.assert_allclose(view.clip[0].permute(1, 2, 3, 0), expected, atol=1e-5)


def test_crops_of_the_host(video: Path) -> None:
    sampling = dict(type='UniformSample', clip_len=4, test_mode=True)
    view = views_of(
        video, sampling, dict(type='DecodeFrames'), dict(type='ThreeCrop', crop_size=HEIGHT)
    )
    plain = views_of(
        video, sampling, dict(type='DecodeFrames'), dict(type='CenterCrop', crop_size=HEIGHT)
    )
    assert (view.frames == plain.frames).all()
    assert view.note == 'the middle of 3 crops' and plain.note == ''


def test_a_step_is_changed_in_a_copy() -> None:
    pipeline = [dict(type='ShortSideCrops', size=32)]
    changed, num_crops = middle_crop(pipeline)
    assert changed == [dict(type='ShortSideCrops', size=32, num_crops=1)] and num_crops == 3
    assert pipeline == [dict(type='ShortSideCrops', size=32)]


def test_a_broken_video_is_named(tmp_path: Path) -> None:
    (tmp_path / 'a.mp4').write_text('no video')
    found = views_of(tmp_path / 'a.mp4', dict(type='DecodeFrames'))
    assert isinstance(found, BrokenVideo) and found.filename == str(tmp_path / 'a.mp4')


def test_what_is_no_rgb_clip(video: Path) -> None:
    steps = (dict(type='UniformSample', clip_len=4, test_mode=True), dict(type='DecodeFrames'))
    with pytest.raises(ConfigError, match=r'must give uint8 RGB clips .* \(4, 3, 36, 64\)'):
        views_of(video, *steps, last='NCHW')


@pytest.mark.parametrize('settings', [{}, dict(test_dataloader=dict(dataset=dict(a=1)))])
def test_no_pipeline(settings: dict) -> None:
    with pytest.raises(ConfigError, match='defines no test pipeline'):
        next(read_views(Config(settings), Preprocessing(), ['a.mp4']))


def test_views_are_those_of_the_test_pipeline_and_go_round(tiny: Tiny) -> None:
    config = load_config(str(tiny.six_views))
    model = build_model(config)
    files = listed_videos(config, None, 2)
    views = stacked_views(config, model, files, 15)
    sample = files_dataset(config, files)[0]
    data = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
    first = model.data_preprocessor(data, training=False)['inputs'][0]
    assert views.shape == (15, 3, 16, 32, 32) and len(first) == 6
    assert_close(views[0:12:2], first, rtol=0, atol=0)  # two videos in turn
    assert_close(views[12], first[0], rtol=0, atol=0)


def test_videos_of_a_list_of_a_folder_and_of_the_config(tiny: Tiny, tmp_path: Path) -> None:
    config = load_config(str(tiny.one_view))
    assert [file.name for file in listed_videos(config, None, 100)] == list(tiny.names)
    assert len(listed_videos(config, tiny.folder / 'videos', 3)) == 3
    beside = tmp_path / 'own.txt'
    beside.write_text('a/video.mp4 0\n')
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'video.mp4').write_bytes(b'')
    assert listed_videos(config, beside, NUM_VIDEOS) == [tmp_path / 'a' / 'video.mp4']


def test_what_cannot_be_listed(tiny: Tiny, tmp_path: Path) -> None:
    config = load_config(str(tiny.one_view))
    with pytest.raises(DataError, match='does not exist'):
        listed_videos(config, tmp_path / 'gone', 1)
    config.test_dataloader.dataset.pop('ann_file')
    with pytest.raises(ConfigError, match='names no list of videos: give --clips'):
        listed_videos(config, None, 1)
    model_only = load_config(str(ROOT / 'configs' / '_base_' / 'models' / 'sta_vit.py'))
    with pytest.raises(ConfigError, match='defines no test_dataloader'):
        listed_videos(model_only, None, 1)
