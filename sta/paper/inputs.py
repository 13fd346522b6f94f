"""Where weights and videos are found, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from sta.checkpoints.read import FILE_SUFFIXES
from sta.engine.config import load_config
from sta.errors import CheckpointError, DataError
from sta.start import find_path

from .experiment import Setting
from .settings import DATASETS

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
