"""The clip of a video that is looked at: the middle view of a test pipeline, as it was decoded."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from sta.datasets.video_list import BrokenVideo
from sta.engine.batches import collate
from sta.engine.prediction import files_dataset
from sta.errors import ConfigError


class View(NamedTuple):
    """One view of a video.

    Attributes:
        name: path of the video.
        frames: (frames, H, W, 3) uint8 RGB, cropped as the model gets them.
        clip: (1, 3, frames, H, W) float32, preprocessed, on the model's device.
        note: which view of which it is; '' where there is one only.
    """

    name: str
    frames: np.ndarray
    clip: Tensor
    note: str


def read_views(
    config: Config, model: nn.Module, files: Sequence[str | os.PathLike]
) -> Iterator[View | BrokenVideo]:
    """The middle clip and the middle crop of every video, under a config's test pipeline.

    Args:
        config: with test_dataloader.
        model: of the config, for its preprocessing.
        files: the videos.

    Raises:
        ConfigError, DataError: no pipeline, or one that cannot be built or gives no RGB clips.
    """
    dataset, num_crops = one_crop_of(config, files)
    for index in range(len(files)):
        sample = dataset[index]
        if isinstance(sample, BrokenVideo):
            yield sample
            continue
        yield _view(config, model, os.fspath(files[index]), sample, num_crops)


def one_crop_of(config: Config, files: Sequence[str | os.PathLike]) -> tuple[Any, int]:
    """Videos under a config's test pipeline, of its crops the middle one; and how many it has.

    Raises:
        ConfigError, DataError: no pipeline, or one that cannot be built.
    """
    settings = (config.get('test_dataloader') or {}).get('dataset') or {}
    if not settings.get('pipeline'):
        raise ConfigError(f'config {config.filename} defines no test pipeline')
    one_crop = copy.deepcopy(config)
    pipeline, num_crops = middle_crop(settings['pipeline'])
    one_crop.test_dataloader.dataset.pipeline = pipeline
    return files_dataset(one_crop, files), num_crops


def middle_crop(pipeline: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """A pipeline that takes the middle one of several crops, and how many there were.

    Asked of the transforms: their crops come in no common order.
    """
    changed, num_crops = [], 1
    for step in pipeline:
        step = dict(step)
        if step.get('type') == 'ShortSideCrops':
            num_crops *= step.get('num_crops', 3)
            step['num_crops'] = 1
        elif step.get('type') in ('ThreeCrop', 'TenCrop'):
            num_crops *= {'ThreeCrop': 3, 'TenCrop': 10}[step['type']]
            step = dict(type='CenterCrop', crop_size=step['crop_size'])
        changed.append(step)
    return changed, num_crops


def _view(
    config: Config, model: nn.Module, name: str, sample: dict[str, Any], num_crops: int
) -> View:
    inputs = sample['inputs']
    if inputs.dim() != 5 or inputs.shape[1] != 3 or inputs.dtype != torch.uint8:
        raise ConfigError(
            f'the test pipeline of {config.filename} must give uint8 RGB clips of shape (views, 3, '
            f'frames, H, W), got {inputs.dtype} {tuple(inputs.shape)}'
        )
    num_clips = len(inputs)
    middle = num_clips // 2
    sample['inputs'] = inputs[middle : middle + 1]
    with torch.no_grad():
        clip = model.data_preprocessor(collate([sample]).data, training=False)['inputs'][0]
    notes = [f'clip {middle + 1} of {num_clips}'] if num_clips > 1 else []
    notes += [f'the middle of {num_crops} crops'] if num_crops > 1 else []
    return View(name, inputs[middle].permute(1, 2, 3, 0).numpy(), clip, ', '.join(notes))
