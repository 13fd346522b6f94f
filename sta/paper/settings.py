"""Which models the paper evaluates, on which data and under which views."""

from __future__ import annotations

import re
from typing import NamedTuple

from .experiment import Experiment, Setting

# Part of the config's name and number of blocks.
VITS = {
    'ViT-S': ('vit_s', 12),
    'ViT-B': ('vit', 12),
    'ViT-L': ('vit_l', 24),
    'ViT-H': ('vit_h', 32),
}
SWINS = {'VideoSwin-T': 'swin_t', 'VideoSwin-S': 'swin_s', 'VideoSwin-B': 'swin'}
# Temporal clips x spatial crops of each family on each data set (Tables 2 and 3).
VIEWS = {
    ('ViT', 'k400'): (5, 3),
    ('ViT', 'ssv2'): (2, 3),
    ('VideoSwin', 'k400'): (4, 3),
    ('VideoSwin', 'ssv2'): (1, 3),
}
DATASETS = {'k400': 'K400', 'ssv2': 'SSV2'}
VIT_FRAMES_TOKENS = 8  # 16 frames, tubelets of 2
VIT_TOKENS_PER_FRAME = 196


class Named(NamedTuple):
    """A model as the paper's comparisons name it.

    Attributes:
        model: 'ViT-L'.
        drop: r or r1; 0 for no pruning.
    """

    model: str
    drop: int


def setting_of(model: str, dataset: str, views: tuple[int, int] | None = None) -> Setting:
    """The setting of a model, under the paper's usual views unless others are named.

    Raises:
        KeyError: the paper has no such model.
    """
    infix = VITS[model][0] if model in VITS else SWINS[model]
    family, size = model.split('-')
    clips, crops = views or VIEWS[family, dataset]
    checkpoint = f'{"swin" if family == "VideoSwin" else "vit"}_{size.lower()}_{dataset}'
    name, config = f'{checkpoint}_{clips}x{crops}', f'sta_{infix}_{dataset}'
    return Setting(name, model, dataset, config, checkpoint, clips, crops)


def parse_name(name: str) -> Named | None:
    """Read 'STA64-ViT-L' or 'ViT-H'; None for a model of others."""
    found = re.fullmatch(r'(?:STA(\d+)-)?((?:ViT|VideoSwin)-\w)', name)
    if found is None or found[2] not in {*VITS, *SWINS}:
        return None
    return Named(found[2], int(found[1] or 0))


def sta(setting: Setting, drop: int) -> Experiment:
    """STA at the paper's r or r1; 0 is no pruning."""
    return Experiment(setting, drop)


def random(setting: Setting, drop: int) -> Experiment:
    """As many tokens dropped at random."""
    return Experiment(setting, drop, pruner=(('type', 'RandomPruner'),))


def ablated(setting: Setting, drop: int, part: str, value: str) -> Experiment:
    """STA with one of its parts changed, such as score='temporal'; the default stays plain STA."""
    defaults = {'first_frame': 'tome', 'similarity': 'key', 'score': 'product'}
    if defaults[part] == value:
        return sta(setting, drop)
    return Experiment(setting, drop, pruner=((part, value), ('type', 'STAPruner')))
