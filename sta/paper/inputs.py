"""Where weights and videos are found, and what is missing; or small stand-ins for a smoke run.

A smoke run has every experiment on the small models and the embedded videos: does all of it run?
A ViT's schedule is scaled to the embedded ViT of 6 blocks and 36 tokens per frame: a drop of r per
chunk becomes r * 36 / 196, a place behind block b of L becomes b * 6 / L; chunks and directions
stay, since both have 8 frames of tokens. A VideoSwin's drops r1 and 3 r1 / 8 become r1 * 36 / 784
and 3 r1 / 8 * 9 / 196 on the embedded one, which merges twice. All are rounded; a random grid,
which takes square numbers only, gets the next lower one. Clips and crops follow the protocols of
the data sets, frames are 16 in a row, since the embedded clips have 28 to 40.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sta.checkpoints.read import FILE_SUFFIXES
from sta.engine.config import load_config
from sta.errors import CheckpointError, DataError
from sta.pruning import PruningSchedule, PruningStage
from sta.pruning.schedule import PAPER_TOKENS_PER_FRAME, paper_drops
from sta.start import find_path

from .experiment import (
    DATASETS,
    VIT_FRAMES_TOKENS,
    VIT_TOKENS_PER_FRAME,
    VITS,
    Experiment,
    Setting,
    VitSize,
    stages_of,
)

# Under which names, beside our own, the published files are downloaded: VideoMAE's from Hugging
# Face (folders), VideoSwin's from its authors.
PUBLISHED_AS = {
    'vit_s_k400': 'videomae-small-finetuned-kinetics',
    'vit_b_k400': 'videomae-base-finetuned-kinetics',
    'vit_l_k400': 'videomae-large-finetuned-kinetics',
    'vit_h_k400': 'videomae-huge-finetuned-kinetics',
    'vit_s_ssv2': 'videomae-small-finetuned-ssv2',
    'vit_b_ssv2': 'videomae-base-finetuned-ssv2',
    'swin_t_k400': 'swin_tiny_patch244_window877_kinetics400_1k',
    'swin_s_k400': 'swin_small_patch244_window877_kinetics400_1k',
    'swin_b_k400': 'swin_base_patch244_window877_kinetics400_22k',
    'swin_b_ssv2': 'swin_base_patch244_window1677_sthv2',
}
# List and folder of the videos below the folder of data, as data/README.md has them.
LAYOUT = {
    'k400': ('kinetics400/kinetics400_val_list_videos.txt', 'kinetics400/videos_val'),
    'ssv2': ('sthv2/sthv2_val_list_videos.txt', 'sthv2/videos'),
}
NUM_VIDEOS, NUM_VIEWS = 24, 144
_VIT = VitSize(depth=6, num_frames_tokens=VIT_FRAMES_TOKENS, tokens_per_frame=36)
_SWIN_TOKENS_PER_FRAME = (36, 9)
_SAMPLING: dict[str, dict[str, Any]] = {
    'videomae_k400': dict(stride=1),
    'videomae_ssv2': {},
    'videoswin_k400': dict(clip_len=16, stride=1),
    'videoswin_ssv2': dict(clip_len=16),
}


@dataclass(frozen=True)
class Inputs:
    """What the machine has of what the tables need.

    Attributes:
        root: of the repository, where configs/ lies.
        checkpoints: files by name of the checkpoint; those found.
        data: folder of the data sets.
    """

    root: Path
    checkpoints: dict[str, Path]
    data: Path

    def has_data(self, dataset: str) -> bool:
        """Whether the list of a data set is there."""
        return (self.data / LAYOUT[dataset][0]).is_file()

    def missing(self, setting: Setting) -> str:
        """What an evaluation of a setting lacks: 'K400 + vit_l_k400.pth'; '' for nothing."""
        parts = [] if self.has_data(setting.dataset) else [DATASETS[setting.dataset]]
        parts += [] if setting.checkpoint in self.checkpoints else [f'{setting.checkpoint}.pth']
        return ' + '.join(parts)

    def config(self, setting: Setting) -> Config:
        """The config of a setting, with its views and the place of its data.

        Raises:
            ConfigError: there is none, or it does not fit.
        """
        path = self.root / 'configs' / f'{setting.config}.py'
        return load_config(str(path), self.options(setting))

    def options(self, setting: Setting) -> list[str]:
        """The --cfg-options that make the setting's config what the experiment needs."""
        listed, videos = LAYOUT[setting.dataset]
        dataset = 'test_dataloader.dataset'
        return [
            f'{dataset}.pipeline.1.num_clips={setting.clips}',
            f'{dataset}.pipeline.3.num_crops={setting.crops}',
            f'{dataset}.ann_file={str(self.data / listed)!r}',
            f'{dataset}.data_prefix.video={str(self.data / videos)!r}',
        ]


def find_inputs(
    root: Path, checkpoints: Path | None, data: Path | None, settings: Sequence[Setting]
) -> Inputs:
    """Look for what the settings need.

    Args:
        root: of the repository.
        checkpoints: folder of weights; None for none.
        data: folder of data sets; None looks in data/ and is content with nothing there.
        settings: that are to be evaluated.

    Raises:
        CheckpointError: no such folder, none of the weights in it, or two files of one name.
        DataError: a folder was named, or weights were found, but none of the data sets.
    """
    names = list(dict.fromkeys(setting.checkpoint for setting in settings))
    found = {} if checkpoints is None else find_checkpoints(checkpoints, names)
    inputs = Inputs(root, found, Path(find_path('data')) if data is None else data)
    wanted = [s.dataset for s in settings if checkpoints is None or s.checkpoint in found]
    wanted = list(dict.fromkeys(wanted))
    asked = data is not None or checkpoints is not None
    if asked and wanted and not any(inputs.has_data(dataset) for dataset in wanted):
        lists = ' or '.join(str(inputs.data / LAYOUT[dataset][0]) for dataset in wanted)
        raise DataError(f'no data: {lists} does not exist; lay it out as data/README.md says')
    return inputs


def find_checkpoints(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The files of a folder that go by one of the accepted names, by our name.

    Args:
        folder: of weights.
        names: wanted ones, 'vit_b_k400' and so on; with none wanted nothing is looked for.

    Raises:
        CheckpointError: no such folder, none of the names in it, or two files for one of them.
    """
    if not folder.is_dir():
        raise CheckpointError(f'--checkpoints {folder} is not a folder')
    found = {}
    for name in names:
        matching = [path for path in sorted(folder.iterdir()) if _goes_by(path) in accepted(name)]
        if len(matching) > 1:
            files = ' and '.join(path.name for path in matching)
            raise CheckpointError(f'--checkpoints {folder}: {files} are both {name}; keep one')
        if matching:
            found[name] = matching[0]
    if names and not found:
        raise CheckpointError(
            f'--checkpoints {folder} holds none of {", ".join(names)} '
            f'({", ".join(FILE_SUFFIXES)}, or a Hugging Face folder)'
        )
    return found


def accepted(name: str) -> tuple[str, ...]:
    """Names without suffix that a checkpoint may go by."""
    return (name, PUBLISHED_AS[name]) if name in PUBLISHED_AS else (name,)


def legend(inputs: Inputs, settings: Sequence[Setting]) -> list[str]:
    """Lines that say where which file is expected, and which are there."""
    lines = ['Files of --checkpoints DIR (' + ', '.join(FILE_SUFFIXES) + ' or a folder):']
    for name in dict.fromkeys(setting.checkpoint for setting in settings):
        state = inputs.checkpoints.get(name, 'missing')
        lines.append(f'  {" or ".join(accepted(name))}: {state}')
    lines.append('Files of --data DIR (default data):')
    for dataset in dict.fromkeys(setting.dataset for setting in settings):
        listed, videos = LAYOUT[dataset]
        state = 'there' if inputs.has_data(dataset) else 'missing'
        lines.append(f'  {DATASETS[dataset]}: {listed} and {videos}/: {state}')
    return lines


def _goes_by(path: Path) -> str:
    """The name of a file without a suffix of checkpoints; '' for other files."""
    if path.is_dir():
        return path.name
    return path.name.removesuffix(path.suffix) if path.suffix in FILE_SUFFIXES else ''


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
        crops: dict[str, Any] = dict(size=96, num_crops=setting.crops)
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
    if not isinstance(experiment.schedule, int) or experiment.schedule == 0:
        return 0  # the paper words all others as r1
    drops = paper_drops(experiment.schedule)
    sizes = zip(drops, PAPER_TOKENS_PER_FRAME, _SWIN_TOKENS_PER_FRAME, strict=False)
    return tuple(scaled(drop, full, few) for drop, full, few in sizes)


def scaled(drop: int, full: int, few: int) -> int:
    """As large a part of ``few`` tokens as ``drop`` is of ``full``, at least one."""
    return max(1, round(drop * few / full))
