"""Every experiment on the small models and the embedded videos: does all of it run?

A ViT's schedule is scaled to the embedded ViT of 6 blocks and 36 tokens per frame: a drop of r per
chunk becomes r * 36 / 196, a place behind block b of L becomes b * 6 / L; chunks and directions
stay, since both have 8 frames of tokens. A VideoSwin's drops r1 and 3 r1 / 8 become r1 * 36 / 784
and 3 r1 / 8 * 9 / 196 on the embedded one, which merges twice. All are rounded; a random grid,
which takes square numbers only, gets the next lower one. Clips and crops follow the protocols of
the data sets, frames are 16 in a row, since the embedded clips have 28 to 40.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

from sta.pruning import PruningSchedule, PruningStage
from sta.pruning.schedule import PAPER_TOKENS_PER_FRAME, paper_drops

from .experiment import Experiment, Row, Setting, Table
from .inputs import Inputs
from .schedules import stages_of
from .settings import VIT_FRAMES_TOKENS, VIT_TOKENS_PER_FRAME, VITS

NUM_VIDEOS, NUM_VIEWS = 24, 144
SMOKE = 'SMOKE'
_VIT = dict(depth=6, num_frames_tokens=VIT_FRAMES_TOKENS, tokens_per_frame=36)
_SWIN_TOKENS_PER_FRAME = (36, 9)
_SAMPLING: dict[str, dict[str, Any]] = {
    'videomae_k400': dict(stride=1),
    'videomae_ssv2': {},
    'videoswin_k400': dict(clip_len=16, stride=1),
    'videoswin_ssv2': dict(clip_len=16),
}


@dataclass(frozen=True)
class SmokeInputs(Inputs):
    """The embedded models and videos.

    Attributes:
        num_views: of each setting: up to 24 videos of 6 views, fewer where there are more views.
    """

    num_views: int = NUM_VIEWS

    def has_data(self, dataset: str) -> bool:
        """The embedded videos stand in for every data set."""
        return (self.data / 'val.txt').is_file()

    def options(self, setting: Setting) -> list[str]:
        """Views as the published protocols cut them, from a few of the embedded videos."""
        family = 'videoswin' if 'swin' in setting.config else 'videomae'
        protocol = f'{family}_{setting.dataset}'
        sampling = dict(protocol=protocol, num_clips=setting.clips, **_SAMPLING[protocol])
        num_views = setting.clips * setting.crops
        crops = dict(size=96, num_crops=setting.crops)
        crops |= dict(rule='videoswin') if family == 'videoswin' else {}
        pipeline = [
            dict(type='OpenVideo'),
            dict(type='ProtocolSampleFrames', **sampling),
            dict(type='DecodeFrames'),
            dict(type='ShortSideCrops', **crops),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ]
        values = {
            'pipeline': pipeline,
            'ann_file': str(self.data / 'val.txt'),
            'data_prefix.video': str(self.data),
            'classes': str(self.data / 'classes.txt'),
            'max_videos': max(1, min(NUM_VIDEOS, self.num_views // num_views)),
        }
        return [f'test_dataloader.dataset.{key}={value!r}' for key, value in values.items()]


def smoke_inputs(root: Path, num_views: int = NUM_VIEWS) -> SmokeInputs:
    """The embedded models and videos of a repository."""
    names = ('sta_vit_motions', 'sta_swin_motions')
    weights = {name: root / 'checkpoints' / f'{name}.safetensors' for name in names}
    return SmokeInputs(root, weights, root / 'data' / 'motions', num_views)


def smoke_table(table: Table) -> Table:
    """The same table with every experiment on a small model, and nothing published beside it."""
    return replace(
        table,
        title=f'{SMOKE}, not the paper: {table.title}',
        rows=tuple(_smoke_row(row) for row in table.rows if _has_experiments(row)),
        notes=(
            f'{SMOKE}: small models, a few embedded videos, schedules scaled to their grids; shows '
            f'that every experiment runs, and says nothing about the paper.',
        ),
    )


def small(experiment: Experiment) -> Experiment:
    """The experiment on the embedded model of the same family."""
    old = experiment.setting
    is_vit = old.model in VITS
    kind = 'vit' if is_vit else 'swin'
    name = f'smoke_{kind}_{old.dataset}_{old.clips}x{old.crops}'
    config = f'sta_{kind}_motions'
    setting = replace(old, name=name, model=f'small {kind}', config=config, checkpoint=config)
    schedule = _small_vit(experiment) if is_vit else _small_swin(experiment)
    # What becomes a plain drop is the same run as any other of that drop.
    label = '' if isinstance(schedule, int) else experiment.label
    return replace(experiment, setting=setting, schedule=schedule, label=label)


def _has_experiments(row: Row) -> bool:
    """Whether anything of a row can run; rows of other people's models are quoted only."""
    return any(cell.experiment is not None for cell in row.cells)


def _smoke_row(row: Row) -> Row:
    cells = (
        replace(cell, published=None, experiment=cell.experiment and small(cell.experiment))
        for cell in row.cells
    )
    return replace(row, cells=tuple(cells))


def _small_vit(experiment: Experiment) -> int | tuple[PruningStage, ...]:
    depth = VITS[experiment.setting.model][1]
    is_grid = ('first_frame', 'grid') in experiment.pruner
    stages = []
    for stage in stages_of(experiment).stages:
        drop = scaled(stage.num_drop, VIT_TOKENS_PER_FRAME, _VIT['tokens_per_frame'])
        stages.append(
            replace(
                stage,
                after_block=round(stage.after_block * _VIT['depth'] / depth),
                num_drop=isqrt(drop) ** 2 if is_grid else drop,
            )
        )
    if not stages:
        return 0
    schedule = PruningSchedule(tuple(stages))
    schedule.validate(**_VIT)
    drop = stages[0].num_drop
    return drop if schedule == PruningSchedule.from_drop(drop, **_VIT) else schedule.stages


def _small_swin(experiment: Experiment) -> int | tuple[int, ...]:
    if experiment.schedule == 0:
        return 0
    drops = paper_drops(experiment.schedule)
    sizes = zip(drops, PAPER_TOKENS_PER_FRAME, _SWIN_TOKENS_PER_FRAME, strict=False)
    return tuple(scaled(drop, full, few) for drop, full, few in sizes)


def scaled(drop: int, full: int, few: int) -> int:
    """As large a part of ``few`` tokens as ``drop`` is of ``full``, at least one."""
    return max(1, round(drop * few / full))
