"""Clips of the test set, without their labels, for what cannot be chosen without looking."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config

from sta.datasets.video_list import BrokenVideo
from sta.errors import DataError
from sta.pruning import tubelet_changes

from .batches import collate
from .session import explained

MOST_VIDEOS = 64


def changes_of_clips(config: Config, backbone: Any) -> np.ndarray:
    """How much the tubelets of a fixed random sample of the test videos change.

    Args:
        config: with model and test_dataloader.
        backbone: says how clips become tokens; its weights are not used.

    Returns:
        (clips, M) float32, see :func:`sta.pruning.tubelet_changes`.

    Raises:
        ConfigError, DataError: the data set cannot be built, or none of its videos decoded.
    """
    settings: dict[str, Any] = {**config.test_dataloader.dataset}
    settings['max_videos'] = min(settings.get('max_videos') or MOST_VIDEOS, MOST_VIDEOS)
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        dataset = DATASETS.build(settings)
        preprocessor = MODELS.build(config.model.data_preprocessor)
    found = []
    for index in range(len(dataset)):
        sample = dataset[index]
        if isinstance(sample, BrokenVideo):
            continue
        data = preprocessor(collate([sample]).data, training=False)
        clip = data['inputs'].flatten(0, 1)
        grid = backbone.token_grid(tuple(clip.shape[1:]))
        found.append(tubelet_changes(clip, grid).flatten(1).numpy())
    if not found:
        raise DataError(f'none of {len(dataset)} videos can be decoded to choose a threshold on')
    return np.concatenate(found)
