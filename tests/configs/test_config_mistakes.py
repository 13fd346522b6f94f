"""Mistakes in a config of one's own are named, not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.errors import ConfigError, PrunerError
from tests.configs.shipped import path_of


def child(folder: Path, text: str) -> str:
    path = folder / 'child.py'
    path.write_text(f'_base_ = {str(path_of("sta_vit_s_k400"))!r}\n{text}\n', encoding='utf-8')
    return str(path)


@pytest.mark.parametrize(
    'key, meant',
    [
        ('tets_cfg', 'test_cfg'),
        ('test_dataloder', 'test_dataloader'),
        ('default_hook', 'default_hooks'),
        ('randomnes', 'randomness'),
    ],
)
def test_a_misspelt_key_is_refused(key, meant, tmp_path) -> None:
    path = child(tmp_path, f'{key} = dict(schedules=[0])')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f'config {path}: unknown key {key!r}, did you mean {meant!r}?'


@pytest.mark.parametrize(
    'text, wrong',
    [
        ('model = dict(backbone=dict(scedule=64))', 'scedule'),
        ("model = dict(backbone=dict(pruner=dict(type='STAPruner', frist_frame='grid')))", 'frist'),
        ("model = dict(backbone=dict(type='STAVisionTransfomer'))", 'STAVisionTransfomer'),
        ('model = dict(cls_head=dict(num_clases=10))', 'num_clases'),
        ('model = dict(backbone=dict(num_heads=7))', '7'),
        ('model = dict(data_preprocessor=dict(means=[0, 0, 0]))', 'means'),
    ],
)
def test_a_wrong_part_of_the_model_is_named(text, wrong, tmp_path) -> None:
    config = load_config(child(tmp_path, text))
    with pytest.raises((ConfigError, PrunerError), match=wrong), torch.device('meta'):
        build_model(config)


@pytest.mark.parametrize('key', ['schedules', 'pruners'])
def test_settings_in_the_wrong_place_are_not_passed_over(key, tmp_path) -> None:
    """At the top of a config nobody reads them: the run would not be the one asked for."""
    with pytest.raises(ConfigError, match=key):
        load_config(child(tmp_path, f'{key} = 1'))
