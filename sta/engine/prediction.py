"""Scores of videos nobody has labelled, under every variant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from torch import nn
from torch.utils.data import DataLoader

from sta.datasets.annotations import legible, note
from sta.datasets.preparation.matching import SHOWN_SUFFIXES, FolderIndex
from sta.datasets.progress import VideoProgress
from sta.datasets.video_list import BrokenVideo, VideoFilesDataset
from sta.errors import DataError, NotFiniteError
from sta.pruning import Variant

from .batches import Batch, living_workers, load_batches, timed
from .scoring import Scorer, check_on_nonfinite, not_finite_text
from .session import explained


class Prediction(NamedTuple):
    """What a model says of one video.

    Attributes:
        name: path of the video, as it is said.
        scores: (variants, classes) float32, softmax averaged over its views.
    """

    name: str
    scores: np.ndarray


def find_videos(path: str | os.PathLike) -> list[Path]:
    """A video as it was named, or all videos below a folder, in the order of their names.

    Files of the folder that are left out are named on stderr.

    Raises:
        DataError: no such file, or a folder without a video.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise DataError(f'{path} does not exist: give a video or a folder of videos')
        return [path]
    index = FolderIndex(path)
    said = index.left_out_line()
    if not index.paths:
        raise DataError(
            f'{path} holds no video ({SHOWN_SUFFIXES})' + ('' if said is None else f'; {said}')
        )
    if said is not None:
        note(f'{path}: {said}')
    return sorted(path / name for name in index.paths)


def predict(
    config: Config,
    model: nn.Module,
    files: Sequence[str | os.PathLike],
    variants: Sequence[Variant],
) -> Iterator[Prediction | BrokenVideo]:
    """Score videos with the views of a config's test pipeline, in their order.

    Args:
        config: with test_dataloader and test_cfg. Under ``on_nonfinite='wrong'`` a video whose
            scores are not finite under a variant is given back as a broken one.
        model: of the config, with weights, in evaluation mode.
        files: the videos.
        variants: pruner and schedule each.

    Raises:
        ConfigError, DataError: the pipeline cannot be built.
        NotFiniteError: scores are NaN or infinite, under ``on_nonfinite='error'``.
        ScheduleError, VariantError: the views do not suit the schedules or the model.
    """
    check_on_nonfinite(config.test_cfg.get('on_nonfinite', 'error'))
    scorer = Scorer(
        model,
        variants,
        precision=config.test_cfg.get('precision', 'fp32'),
        max_views_per_forward=config.test_cfg.get('max_views_per_forward', 16),
    )
    loader = files_loader(config, files)
    batches = timed(load_batches(loader, [range(i, i + 1) for i in range(len(files))]))
    progress = VideoProgress(
        num_videos=len(files), verb=('predicting', 'predicted'), line_at_end=False
    )
    scorer.on_views = progress.count_views
    on_nonfinite = config.test_cfg.get('on_nonfinite', 'error')
    with living_workers(), progress:
        for number, (batch, wait_s) in enumerate(batches):
            found = _scored(number, legible(files[number]), batch, scorer, on_nonfinite)
            progress.advance(1, wait_s)
            with progress.hidden():
                yield found


def _scored(
    number: int, name: str, batch: Batch, scorer: Scorer, on_nonfinite: str
) -> Prediction | BrokenVideo:
    if batch.data is None:
        return batch.broken[0]
    with torch.no_grad():
        inputs = scorer.model.data_preprocessor(batch.data, training=False)['inputs']
    if number == 0:
        scorer.count(tuple(inputs.shape[2:]))
    scored = scorer.score(inputs)
    failed = [v.name for v, good in zip(scorer.variants, scored.finite[0], strict=True) if not good]
    if not failed:
        return Prediction(name, scored.scores[0].numpy())
    said = not_finite_text(failed, scorer.precision)
    if on_nonfinite != 'wrong':
        raise NotFiniteError(
            f'{name}: {said}; --cfg-options test_cfg.on_nonfinite=wrong leaves such videos out'
        )
    return BrokenVideo(number, name, 0, said)


def files_dataset(config: Config, files: Sequence[str | os.PathLike]) -> VideoFilesDataset:
    """Videos of one's own under the test pipeline and the decoders of a config.

    Raises:
        ConfigError, DataError: the pipeline cannot be built.
    """
    settings: dict[str, Any] = config.test_dataloader.dataset
    same = {key: settings[key] for key in ('decoders', 'time_limit_s') if key in settings}
    with explained(f'the test pipeline of {config.filename} cannot be built'):
        return VideoFilesDataset(files, pipeline=settings['pipeline'], **same)


def files_loader(config: Config, files: Sequence[str | os.PathLike]) -> DataLoader:
    """Loads such videos one by one, with as many workers as the config says.

    Raises:
        ConfigError, DataError: the pipeline cannot be built.
    """
    dataset = files_dataset(config, files)
    # A single video needs no worker beside the process that decodes it.
    workers = min(config.test_dataloader.get('num_workers', 0), len(files) - 1)
    return DataLoader(dataset, num_workers=workers)
