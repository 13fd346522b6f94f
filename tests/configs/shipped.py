"""The configs of the project, loaded once, their models without weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from sta.engine.config import load_config
from sta.engine.session import build_model_of_shapes
from sta.pruning import Variant, expand_variants

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
VIT_CONFIGS = [name for name in CONFIGS if '_vit' in name]
SWIN_CONFIGS = [name for name in CONFIGS if '_swin' in name]
SIZES = {'_s': 's', '': 'b', '_l': 'l', '_h': 'h'}
CLASSES = {'k400': 400, 'ssv2': 174}
PUBLISHED = [(size, data) for size in SIZES for data in CLASSES]


def path_of(name: str) -> Path:
    return ROOT / f'configs/{name}.py'


@lru_cache
def config_of(name: str) -> Config:
    return load_config(str(path_of(name)))


@lru_cache
def model_of(name: str) -> nn.Module:
    """Without weights: the meta device allocates nothing."""
    return build_model_of_shapes(config_of(name))


def leaves(node: Any, place: tuple = (), *, into_lists: bool = True) -> Iterator[tuple[tuple, Any]]:
    """Every value of nested dicts and lists with the keys that lead to it."""
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list | tuple) and into_lists:
        children = enumerate(node)
    else:
        yield place, node
        return
    for key, value in children:
        yield from leaves(value, (*place, key), into_lists=into_lists)


def variants_of(config: Config) -> list[Variant]:
    return expand_variants(config.test_cfg.schedules, config.test_cfg.pruners)
