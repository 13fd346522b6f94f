"""From configs to models and runners."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from sta.datasets import decoding
from sta.engine.config import load_config
from sta.engine.session import (
    build_model,
    build_test_runner,
    say_what_takes_long,
    views_per_video,
)
from sta.engine.training import build_train_runner
from sta.errors import CheckpointError, ConfigError, ScheduleError
from tests.models.small_vit import small_vit
from tests.tools.tiny import ROOT, Tiny


def pipeline(*steps: dict) -> Config:
    return Config(dict(test_dataloader=dict(dataset=dict(pipeline=list(steps)))))


@pytest.mark.parametrize(
    ('config', 'views'),
    [
        (Config(dict()), 1),
        (pipeline(dict(type='UniformSample', clip_len=16)), 1),
        (pipeline(dict(type='Sample', num_clips=4), dict(type='Crops', num_crops=3)), 12),
        (pipeline(dict(type='SampleFrames', num_clips=10), dict(type='ThreeCrop')), 30),
        (pipeline(dict(type='SampleFrames', num_clips=10), dict(type='CenterCrop')), 10),
    ],
)
def test_views_are_clips_times_crops(config: Config, views: int) -> None:
    assert views_per_video(config) == views


def test_ten_crops_are_ten_views() -> None:
    assert views_per_video(pipeline(dict(type='TenCrop', crop_size=224))) == 10
    assert views_per_video(pipeline(dict(type='ShortSideCrops'))) == 3


@pytest.mark.parametrize(
    ('name', 'views'),
    [('sta_vit_k400', 15), ('sta_vit_l_k400', 15), ('sta_vit_ssv2', 6), ('sta_vit_motions', 1)],
)
def test_views_of_the_shipped_configs(name: str, views: int) -> None:
    assert views_per_video(load_config(str(ROOT / 'configs' / f'{name}.py'))) == views


def test_the_shape_of_a_view_is_what_the_backbone_was_built_for() -> None:
    assert small_vit(num_frames=8, img_size=24, in_channels=1).clip_shape == (1, 8, 24, 24)


def test_a_model_has_the_settings_of_its_config(tiny: Tiny) -> None:
    model = build_model(load_config(str(tiny.one_view), ['model.backbone.schedule=3']))
    assert len(model.backbone.blocks) == 3
    assert model.backbone.schedule.tokens_after_stages(128) == [104, 92, 86]
    assert model.cls_head.fc_cls.out_features == 7


def test_a_schedule_of_the_config_that_does_not_fit(tiny: Tiny) -> None:
    with pytest.raises(ScheduleError, match='at most 15'):
        build_model(load_config(str(tiny.one_view), ['model.backbone.schedule=16']))


def runner_config(tiny: Tiny, folder: Path, *options: str) -> Config:
    config = load_config(str(tiny.one_view), options)
    config.work_dir = str(folder)
    return config


def test_a_runner_has_the_weights_of_the_checkpoint(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runner = build_test_runner(runner_config(tiny, tmp_path), str(tiny.checkpoint))
    for name, value in load_file(tiny.checkpoint).items():
        torch.testing.assert_close(runner.model.state_dict()[name], value, atol=0, rtol=0)
    assert len(runner.test_loop.variants) == 9
    assert 'loaded 45 tensors' in capsys.readouterr().out


def test_without_a_checkpoint_weights_are_random_and_that_is_said(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    build_test_runner(runner_config(tiny, tmp_path), None)
    assert 'random weights' in capsys.readouterr().out


def test_only_the_first_process_speaks(
    tiny: Tiny,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('RANK', '1')
    build_test_runner(runner_config(tiny, tmp_path), str(tiny.checkpoint))
    assert capsys.readouterr().out == ''


def test_nothing_is_decoded_before_everything_is_checked(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that fits no backbone and a wrong checkpoint are found out in a second."""
    monkeypatch.setattr(decoding, 'PyAVReader', None)
    with pytest.raises(ScheduleError):
        config = runner_config(tiny, tmp_path, 'test_cfg.schedules=[0, 16]')
        build_test_runner(config, str(tiny.checkpoint))
    with pytest.raises(CheckpointError):
        build_test_runner(runner_config(tiny, tmp_path), 'no.pth')


@pytest.mark.parametrize('part', ['train_cfg', 'train_dataloader', 'optim_wrapper'])
def test_a_part_that_training_needs_is_named(tiny: Tiny, tmp_path: Path, part: str) -> None:
    config = load_config(str(tiny.training))
    config.pop(part)
    with pytest.raises(ConfigError, match=f'defines no {part};'):
        build_train_runner(config)


def test_a_large_checkpoint_is_named_before_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, size in {'small.pth': 10, 'large.pth': 1_200_000_000}.items():
        with (tmp_path / name).open('wb') as file:
            file.truncate(size)
        say_what_takes_long(tmp_path / name)
    say_what_takes_long(tmp_path)
    say_what_takes_long(tmp_path / 'missing.pth')
    assert capsys.readouterr().out.splitlines() == [
        f'loading {tmp_path}/large.pth (1.2 GB)',
        f'loading {tmp_path} (1.2 GB)',
    ]
