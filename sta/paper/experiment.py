"""What the paper evaluates: models on data under views, and variants of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict

from sta.pruning import PruningSchedule, PruningStage, Variant, expand_variants

# What can be measured; the rest of the tables' numbers is only quoted.
COSTS = ('gflops', 'tokens', 'parameters', 'stages')
ACCURACIES = ('top1', 'top5')
SPEED, TRAJECTORY, TRAINING = 'clips_per_s', 'trajectory_sum', 'training'
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


@dataclass(frozen=True)
class Setting:
    """A model on a data set under views: what one pass over the data evaluates.

    Attributes:
        name: unique, 'vit_l_k400_5x3'.
        model: as the paper calls it, 'ViT-L' or 'VideoSwin-B'.
        dataset: whose protocol the views follow, 'k400' or 'ssv2'.
        config: name of the file in configs/, without .py.
        checkpoint: name of the weights, see :mod:`sta.paper.inputs`: 'vit_l_k400'.
        clips: temporal clips of a video.
        crops: spatial crops of each.
    """

    name: str
    model: str
    dataset: str
    config: str
    checkpoint: str
    clips: int
    crops: int


@dataclass(frozen=True)
class Experiment:
    """One variant in one setting.

    Attributes:
        setting: model, data and views.
        schedule: the paper's r or r1, where 0 drops nothing; or stages of a ViT; or a VideoSwin's
            drops per frame behind each merging.
        label: what variants call stages; '' where ``schedule`` is made of numbers.
        pruner: settings of the pruner as sorted pairs, e.g. (('type', 'STAPruner'),).
    """

    setting: Setting
    schedule: int | tuple[PruningStage, ...] | tuple[int, ...]
    label: str = ''
    pruner: tuple[tuple[str, Any], ...] = (('type', 'STAPruner'),)


class VitSize(TypedDict):
    """What a ViT's schedule has to fit.

    Attributes:
        depth: blocks.
        num_frames_tokens: frames of tokens.
        tokens_per_frame: of each.
    """

    depth: int
    num_frames_tokens: int
    tokens_per_frame: int


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


def per_frame(setting: Setting, drops: Sequence[int], label: str) -> Experiment:
    """Drops per frame at each stage, as Table 6 words them, e.g. {64, 32, 16}.

    Stage i works on chunks of 2^i frames, which lose 2^i times as much: 64 of each chunk in all
    three stages, the schedule that the paper calls STA64.
    """
    per_chunk = [drop * 2**i for i, drop in enumerate(drops)]
    return _experiment(setting, PruningSchedule.from_drops(per_chunk, **_size(setting)), label)


def in_order(setting: Setting, drop: int, directions: str, label: str) -> Experiment:
    """STA{drop} that accumulates forward ('F') or backward ('B') at each stage."""
    schedule = PruningSchedule.from_drop(drop, directions=directions, **_size(setting))
    return _experiment(setting, schedule, label)


def with_stages(setting: Setting, drop: int, num_stages: int, label: str) -> Experiment:
    """``drop`` tokens per chunk at each of so many stages, evenly spaced over the blocks.

    Directions alternate, as those of three stages do.
    """
    schedule = PruningSchedule.from_drop(
        drop, num_stages=num_stages, directions='FB', **_size(setting)
    )
    return _experiment(setting, schedule, label)


def after_blocks(setting: Setting, drop: int, blocks: Sequence[int], label: str) -> Experiment:
    """STA{drop} behind other blocks, counted from 1 as in the supplementary material."""
    schedule = PruningSchedule.from_drop(drop, num_stages=len(blocks), **_size(setting))
    stages = [replace(s, after_block=b - 1) for s, b in zip(schedule.stages, blocks, strict=True)]
    return _experiment(setting, PruningSchedule(tuple(stages)), label)


def stages_of(experiment: Experiment) -> PruningSchedule:
    """The stages of a ViT's experiment; none where nothing is dropped."""
    if not isinstance(experiment.schedule, int):
        return PruningSchedule(
            tuple(stage for stage in experiment.schedule if isinstance(stage, PruningStage))
        )
    if experiment.schedule == 0:
        return PruningSchedule()
    return PruningSchedule.from_drop(experiment.schedule, **_size(experiment.setting))


def _experiment(setting: Setting, schedule: PruningSchedule, label: str) -> Experiment:
    """Stages that are those of a plain r become that r, so that tables share the run."""
    size = _size(setting)
    schedule.validate(**size)
    drop = schedule.stages[0].num_drop
    if schedule == PruningSchedule.from_drop(drop, **size):
        return Experiment(setting, drop)
    return Experiment(setting, schedule.stages, label)


def _size(setting: Setting) -> VitSize:
    return VitSize(
        depth=VITS[setting.model][1],
        num_frames_tokens=VIT_FRAMES_TOKENS,
        tokens_per_frame=VIT_TOKENS_PER_FRAME,
    )


def config_schedule(experiment: Experiment) -> Any:
    """The schedule as test_cfg of a config takes it."""
    if isinstance(experiment.schedule, int):
        return experiment.schedule
    if all(isinstance(drop, int) for drop in experiment.schedule):
        return list(experiment.schedule)
    stages = [
        dict(
            after_block=stage.after_block,
            num_chunks=stage.num_chunks,
            num_drop=stage.num_drop,
            backward=stage.backward,
        )
        for stage in stages_of(experiment).stages
    ]
    return dict(name=experiment.label, schedule=stages)


def config_pruners(experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """The pruners of a test_cfg that evaluates these experiments, each with its schedules."""
    grouped: dict[tuple[tuple[str, Any], ...], list[Any]] = {}
    for experiment in experiments:
        grouped.setdefault(experiment.pruner, []).append(config_schedule(experiment))
    return [{**dict(pruner), 'schedules': schedules} for pruner, schedules in grouped.items()]


def variant_of(experiment: Experiment) -> Variant:
    """The variant that the engine makes of an experiment."""
    [variant] = expand_variants(None, config_pruners([experiment]))
    return variant
