"""Which files are taken for which weights, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sta.engine.session import views_per_video
from sta.errors import CheckpointError, DataError
from sta.paper import build_tables
from sta.paper.experiment import ablated, per_frame, setting_of, sta
from sta.paper.inputs import (
    Inputs,
    find_checkpoints,
    find_inputs,
    legend,
    scaled,
    small,
    smoke_inputs,
)
from sta.paper.measure import plan_runs

from .conftest import ROOT

NAMES = ('vit_b_k400', 'swin_t_k400')
VIT_B, VIT_S = setting_of('ViT-B', 'k400'), setting_of('ViT-S', 'k400')
VIT_L, SWIN_B = setting_of('ViT-L', 'k400'), setting_of('VideoSwin-B', 'ssv2')


@pytest.mark.parametrize(
    'file',
    [
        'vit_b_k400.pth',
        'vit_b_k400.pt',
        'vit_b_k400.bin',
        'vit_b_k400.safetensors',
        'videomae-base-finetuned-kinetics.pth',
        'videomae-base-finetuned-kinetics/model.safetensors',
        'vit_b_k400/model.safetensors',
    ],
)
def test_accepted_names(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    (tmp_path / 'vit_b_k400.txt').touch()
    (tmp_path / 'vit_b_k400_log.pth').touch()
    found = tmp_path / file.split('/')[0]
    assert find_checkpoints(tmp_path, NAMES) == {'vit_b_k400': found}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / 'vit_b_k400.pth').touch()
    (tmp_path / 'videomae-base-finetuned-kinetics').mkdir()
    with pytest.raises(CheckpointError) as error:
        find_checkpoints(tmp_path, NAMES)
    assert 'videomae-base-finetuned-kinetics and vit_b_k400.pth are both vit_b_k400' in str(
        error.value
    )


def test_a_folder_that_is_none_or_holds_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match='nowhere is not a folder'):
        find_checkpoints(tmp_path / 'nowhere', NAMES)
    with pytest.raises(CheckpointError, match='holds none of vit_b_k400, swin_t_k400'):
        find_checkpoints(tmp_path, NAMES)
    assert find_checkpoints(tmp_path, ()) == {}


def test_data_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'vit_b_k400.pth').touch()
    with pytest.raises(DataError, match='kinetics400_val_list_videos.txt does not exist'):
        find_inputs(tmp_path, tmp_path, tmp_path, [VIT_B])
    with pytest.raises(DataError, match='sthv2_val_list_videos.txt does not exist'):
        find_inputs(tmp_path, None, tmp_path, [setting_of('ViT-B', 'ssv2')])
    monkeypatch.chdir(tmp_path)
    assert find_inputs(tmp_path, None, None, [VIT_B]).missing(VIT_B) == 'K400 + vit_b_k400.pth'


def test_ssv2_alone_will_do(tmp_path: Path) -> None:
    (tmp_path / 'sthv2').mkdir()
    (tmp_path / 'sthv2/sthv2_val_list_videos.txt').touch()
    for name in ('vit_b_k400.pth', 'vit_b_ssv2.pth'):
        (tmp_path / name).touch()
    ssv2 = setting_of('ViT-B', 'ssv2')
    inputs = find_inputs(tmp_path, tmp_path, tmp_path, [VIT_B, ssv2])
    assert (inputs.missing(VIT_B), inputs.missing(ssv2)) == ('K400', '')
    # Weights of one data set with the videos of the other are of no use.
    (tmp_path / 'vit_b_ssv2.pth').unlink()
    with pytest.raises(DataError, match='kinetics400_val'):
        find_inputs(tmp_path, tmp_path, tmp_path, [VIT_B, ssv2])


def test_every_setting_has_a_config_that_takes_its_views_and_data(nothing: Inputs) -> None:
    settings = plan_runs(build_tables(['all']), ('top1', 'top5', 'trajectory_sum'))
    assert len(settings) == 15
    for setting in settings:
        config = nothing.config(setting)
        assert views_per_video(config) == setting.clips * setting.crops
        dataset = config.test_dataloader.dataset
        assert dataset.ann_file.startswith('nowhere/')
        assert dataset.data_prefix.video.startswith('nowhere/')
        assert dataset.num_classes == {'k400': 400, 'ssv2': 174}[setting.dataset]
    assert len({setting.name for setting in settings}) == 15


def test_the_legend_names_every_file(nothing: Inputs) -> None:
    lines = '\n'.join(legend(nothing, list(plan_runs(build_tables(['all']), ('top1',)))))
    for name in ('vit_s', 'vit_b', 'vit_l', 'vit_h', 'swin_t', 'swin_s', 'swin_b'):
        assert f'  {name}_k400 or ' in lines
    assert lines.count('_ssv2 or ') == 3
    assert 'K400: kinetics400/kinetics400_val_list_videos.txt and kinetics400/videos_val/' in lines


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    listed = tmp_path / 'kinetics400/kinetics400_val_list_videos.txt'
    inputs = Inputs(tmp_path, {'vit_s_ssv2': tmp_path}, tmp_path)
    assert inputs.missing(VIT_S) == 'K400 + vit_s_k400.pth'
    assert inputs.missing(setting_of('ViT-S', 'ssv2')) == 'SSV2'
    listed.parent.mkdir()
    listed.touch()
    assert inputs.missing(VIT_S) == 'vit_s_k400.pth'
    assert replace(inputs, checkpoints={'vit_s_k400': tmp_path}).missing(VIT_S) == ''


def test_drops_are_scaled_to_the_small_grids() -> None:
    assert scaled(64, 196, 36) == 12  # 11.76
    assert scaled(320, 784, 36) == 15  # 14.69
    assert scaled(1, 196, 36) == 1
    assert small(sta(VIT_L, 64)).schedule == 12
    assert small(sta(setting_of('ViT-H', 'k400'), 64)).schedule == 12
    assert small(ablated(VIT_L, 64, 'first_frame', 'grid')).schedule == 9
    assert small(sta(SWIN_B, 192)).schedule == (9, 3)  # 8.82 of 36, 72 * 9 / 196 = 3.31 of 9
    assert small(sta(SWIN_B, 0)).schedule == 0


def test_places_and_chunks_are_kept_in_proportion() -> None:
    stages = small(per_frame(VIT_L, [27, 54, 108], 'increasing')).schedule
    assert [(s.after_block, s.num_chunks, s.num_drop, s.backward) for s in stages] == [
        (0, 8, 5, False),
        (2, 4, 20, True),
        (4, 2, 79, False),
    ]


@pytest.mark.parametrize('views', [(2, 3), (16, 3)])
def test_views_are_those_of_the_experiment(views: tuple[int, int]) -> None:
    setting = small(sta(setting_of('ViT-L', 'k400', views), 0)).setting
    config = smoke_inputs(ROOT).config(setting)
    assert views_per_video(config) == views[0] * views[1]
    assert config.test_dataloader.dataset.max_videos == {(2, 3): 24, (16, 3): 3}[views]
