"""Every config builds, is short, and holds only differences."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from mmengine.config import Config

from sta.engine.config import KNOWN_KEYS
from tests.configs.shipped import (
    CONFIGS,
    PUBLISHED,
    ROOT,
    config_of,
    leaves,
    model_of,
    path_of,
    variants_of,
)


def test_the_configs_of_the_paper_are_there() -> None:
    assert {f'sta_vit{size}_{data}' for size, data in PUBLISHED} <= set(CONFIGS)
    assert {'sta_swin_t_k400', 'sta_swin_s_k400', 'sta_swin_k400', 'sta_swin_ssv2'} <= set(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_is_short_and_starts_with_its_command(name) -> None:
    lines = path_of(name).read_text(encoding='utf-8').splitlines()
    assert len(lines) <= 20
    header = [line for line in lines[:4] if line.startswith('#')]
    commands = [line for line in header if 'python tools/' in line]
    assert len(commands) == 1 and f'configs/{name}.py' in commands[0]
    words = commands[0].removeprefix('#').split()
    tool = words[words.index('python') + 1]
    assert (ROOT / tool).is_file()


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_repeats_nothing_of_its_base(name) -> None:
    """A value that equals the inherited one is noise, or a difference that got lost."""
    tree = ast.parse(path_of(name).read_text(encoding='utf-8'))
    own: dict[str, Any] = {}
    exec(compile(tree, name, 'exec'), {}, own)
    base = own.pop('_base_')
    inherited: dict[str, Any] = {}
    for part in [base] if isinstance(base, str) else base:
        config = Config.fromfile(str(ROOT / 'configs' / part), import_custom_modules=False)
        inherited.update(leaves(config.to_dict(), into_lists=False))
    repeated = [
        '.'.join(place)
        for place, value in leaves(own, into_lists=False)
        if place[-1] != 'type' and inherited.get(place, own) == value
    ]
    assert repeated == []


@pytest.mark.parametrize('name', CONFIGS)
def test_the_model_builds_and_every_schedule_fits(name) -> None:
    config, model = config_of(name), model_of(name)
    variants = variants_of(config)
    assert variants[0].name == 'unpruned' and len(variants) >= 4
    names = set()
    for variant in variants:
        with model.backbone.using(variant):
            names.add(variant.name)
            assert model.backbone.schedule.active == (variant.name != 'unpruned')
    assert len(names) == len(variants)
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize('name', CONFIGS)
def test_every_key_at_the_top_is_known(name) -> None:
    config = config_of(name)
    used_elsewhere = {
        'train_pipeline',
        'blending',
        'test_pipeline',
        'val_pipeline',
        'dataset_type',
        'data_root',
    }
    assert set(config) - set(KNOWN_KEYS) <= used_elsewhere


@pytest.mark.parametrize('name', CONFIGS)
def test_paths_are_relative_to_the_repository(name) -> None:
    texts = [value for _, value in leaves(config_of(name).to_dict()) if isinstance(value, str)]
    assert len(texts) > 20
    outside = [text for text in texts if text.startswith(('/', '~', '..')) or ':\\' in text]
    assert outside == []
