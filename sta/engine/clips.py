"""Real clips: views of a user's videos or of a list, as the backbone takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from sta.datasets.annotations import read_annotations, sample
from sta.datasets.video_list import BrokenVideo
from sta.errors import ConfigError, DataError

from .prediction import files_dataset, find_videos

LIST_SUFFIXES = ('.txt', '.csv', '.tsv', '.lst', '.list')


def listed_videos(config: Config, source: str | os.PathLike | None, number: int) -> list[Path]:
    """Videos of a folder, a list, or the config's test list: a fixed sample where there are more.

    Args:
        config: with test_dataloader.
        source: a video, a folder of videos, a list ('path label' a line, .txt or .csv, perhaps with
            .gz; paths below the config's video folder or the list's own), or None for the config's
            own list.
        number: videos at most.

    Raises:
        ConfigError: the config has no test_dataloader.
        DataError: nothing there, or a list whose videos are not on the disk.
    """
    if not isinstance(config.get('test_dataloader'), dict):
        raise ConfigError(f'config {config.filename} defines no test_dataloader to decode with')
    settings = config.test_dataloader.dataset
    if source is None and not settings.get('ann_file'):
        raise ConfigError(f'config {config.filename} names no list of videos: give --clips')
    named = source is None  # what a config calls a list is one, however it is called
    source = Path(source or settings.ann_file)
    name = source.name.lower().removesuffix('.gz')
    if not named and (source.is_dir() or not name.endswith(LIST_SUFFIXES)):
        return sample(find_videos(source), number)
    folders = (Path((settings.get('data_prefix') or {}).get('video') or ''), source.parent)
    chosen = sample(read_annotations(source), number)
    files = [_first_existing([folder / entry.path for folder in folders]) for entry in chosen]
    if not any(file.is_file() for file in files):
        raise DataError(f'none of the videos of {source} is on the disk, such as {files[0]}')
    return files


def _first_existing(paths: Sequence[Path]) -> Path:
    return next((path for path in paths if path.is_file()), paths[0])


def read_views(
    config: Config, model: nn.Module, files: Sequence[str | os.PathLike], number: int
) -> Tensor:
    """Views of videos, normalised: the first of each, then the second of each, ...

    Args:
        config: its test pipeline says which frames and crops.
        model: its data preprocessor normalises.
        files: the videos; broken ones are passed over.
        number: views to return; they are used again where there are fewer.

    Returns:
        (number, 3, frames, H, W) float32 on the device of the model.

    Raises:
        ConfigError, DataError: the pipeline cannot be built, or no video can be used.
    """
    dataset: Any = files_dataset(config, files)
    views, reason = [], ''
    for index in range(len(files)):
        loaded = dataset[index]
        if isinstance(loaded, BrokenVideo):
            reason = f'{loaded.filename}: {loaded.reason}'
            continue
        data = {'inputs': [loaded['inputs']], 'data_samples': [loaded['data_samples']]}
        views.append(model.data_preprocessor(data, training=False)['inputs'][0])
        if len(views) >= number:
            break
    if not views:
        raise DataError(f'not one video can be used; {reason}')
    turns = torch.cat([view[i : i + 1] for i in range(len(views[0])) for view in views])
    return turns[torch.arange(number) % len(turns)]
