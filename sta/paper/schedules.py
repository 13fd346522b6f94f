"""The paper's wording of a ViT's schedule as stages: per frame or per chunk, places, orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sta.pruning import PruningSchedule

from .experiment import Experiment, Setting
from .settings import VIT_FRAMES_TOKENS, VIT_TOKENS_PER_FRAME, VITS


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
        return PruningSchedule(experiment.schedule)
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


def _size(setting: Setting) -> dict[str, int]:
    return dict(
        depth=VITS[setting.model][1],
        num_frames_tokens=VIT_FRAMES_TOKENS,
        tokens_per_frame=VIT_TOKENS_PER_FRAME,
    )
