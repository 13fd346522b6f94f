"""Views of videos as a model takes them: to be timed, predicted, compared or looked at."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy  # whose parts are imported when first used
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sta.analysis.fidelity import Observed, observe
from sta.datasets.annotations import legible, note, read_annotations, sample
from sta.datasets.preparation.matching import SHOWN_SUFFIXES, FolderIndex
from sta.datasets.progress import VideoProgress
from sta.datasets.video_list import BrokenVideo, VideoFilesDataset
from sta.errors import ConfigError, DataError, NotFiniteError
from sta.evaluation import all_finite
from sta.models.prunable import BoundVariant, PrunableRecognizer, shape_of
from sta.pruning import Variant

from .loop import Loaded, collate, living_workers, loaded, plan_batches
from .scoring import Scorer, check_on_nonfinite, not_finite_text
from .session import explained

LIST_SUFFIXES = ('.txt', '.csv', '.tsv', '.lst', '.list')


def listed_videos(config: Config, source: str | os.PathLike[str] | None, number: int) -> list[Path]:
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


def stacked_views(
    config: Config, model: PrunableRecognizer, files: Sequence[str | os.PathLike[str]], number: int
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
    dataset = files_dataset(config, files)
    views: list[Tensor] = []
    reason = ''
    for index in range(len(files)):
        decoded = dataset[index]
        if isinstance(decoded, BrokenVideo):
            reason = f'{decoded.filename}: {decoded.reason}'
            continue
        views.append(normalised(decoded, model.data_preprocessor))
        if len(views) >= number:
            break
    if not views:
        raise DataError(f'not one video can be used; {reason}')
    turns = torch.cat([view[i : i + 1] for i in range(len(views[0])) for view in views])
    return turns[torch.arange(number) % len(turns)]


def normalised(decoded: Any, preprocessor: nn.Module) -> Tensor:
    """(views, 3, frames, H, W) of a decoded video, as a model takes them."""
    with torch.no_grad():
        return preprocessor(collate([decoded]).data, training=False)['inputs'][0]


class Prediction(NamedTuple):
    """What a model says of one video.

    Attributes:
        name: path of the video, as it is said.
        scores: (variants, classes) float32, softmax averaged over its views.
    """

    name: str
    scores: np.ndarray


def find_videos(path: str | os.PathLike[str]) -> list[Path]:
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
    model: PrunableRecognizer,
    files: Sequence[str | os.PathLike[str]],
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
    incoming = loaded(loader, [range(i, i + 1) for i in range(len(files))], model)
    progress = VideoProgress(
        num_videos=len(files), verb=('predicting', 'predicted'), line_at_end=False
    )
    scorer.on_views = progress.count_views
    on_nonfinite = config.test_cfg.get('on_nonfinite', 'error')
    with living_workers(), progress:
        for batch, file in zip(incoming, files, strict=True):
            found = _scored(legible(file), batch, scorer, on_nonfinite)
            progress.advance(1, batch.wait_s)
            with progress.hidden():
                yield found


def _scored(
    name: str, batch: Loaded, scorer: Scorer, on_nonfinite: str
) -> Prediction | BrokenVideo:
    if batch.inputs is None:
        return batch.broken[0]
    if batch.places.start == 0:
        scorer.count(shape_of(batch.inputs))
    scored = scorer.score(batch.inputs)
    failed = [v.name for v, good in zip(scorer.variants, scored.finite[0], strict=True) if not good]
    if not failed:
        return Prediction(name, scored.scores[0].numpy())
    said = not_finite_text(failed, scorer.precision)
    if on_nonfinite != 'wrong':
        raise NotFiniteError(
            f'{name}: {said}; --cfg-options test_cfg.on_nonfinite=wrong leaves such videos out'
        )
    return BrokenVideo(batch.places.start, name, 0, said)


def files_dataset(config: Config, files: Sequence[str | os.PathLike[str]]) -> VideoFilesDataset:
    """Videos of one's own under the test pipeline and the decoders of a config.

    Raises:
        ConfigError, DataError: the pipeline cannot be built.
    """
    settings: dict[str, Any] = config.test_dataloader.dataset
    same = {key: settings[key] for key in ('decoders', 'time_limit_s') if key in settings}
    with explained(f'the test pipeline of {config.filename} cannot be built'):
        return VideoFilesDataset(files, pipeline=settings['pipeline'], **same)


def files_loader(config: Config, files: Sequence[str | os.PathLike[str]]) -> DataLoader[Any]:
    """Loads such videos one by one, with as many workers as the config says.

    Raises:
        ConfigError, DataError: the pipeline cannot be built.
    """
    dataset = files_dataset(config, files)
    # A single video needs no worker beside the process that decodes it.
    workers = min(config.test_dataloader.get('num_workers', 0), len(files) - 1)
    return DataLoader(dataset, num_workers=workers)


class Observations(NamedTuple):
    """V variants on the videos that could be decoded.

    Attributes:
        features: (V, videos, views, C) float32.
        log_probabilities: (V, videos, classes) float32, of the mean over a video's views.
        kept: (V, videos, 2) float64, mean over a video's views; NaN where undefined.
        labels: (videos,) int64.
        num_broken: videos that were left out.
    """

    features: np.ndarray
    log_probabilities: np.ndarray
    kept: np.ndarray
    labels: np.ndarray
    num_broken: int


def observe_videos(runner: Any, *, still: float) -> Observations:
    """Run every video of a test runner under every variant of its loop.

    Args:
        runner: from :func:`sta.engine.session.build_test_runner`, without a store.
        still: see :func:`sta.analysis.fidelity.observe`.

    Raises:
        DataError: not one video can be used.
        NotFiniteError: features or logits are NaN or infinite, which have no cosine.
        ScheduleError: a variant does not fit the model or the clips.
    """
    loop = runner.test_loop
    model, loader = runner.model.eval(), loop.dataloader
    bound = [model.backbone.bind(variant) for variant in loop.variants]
    batches = plan_batches(len(loader.dataset), loader.batch_size, ())
    parts, labels, num_broken = [], [], 0
    incoming = loaded(loader, batches, model)
    progress = VideoProgress(num_videos=len(loader.dataset), shown=True)
    with living_workers(), progress:
        for batch in incoming:
            num_broken += len(batch.broken)
            if batch.inputs is not None:
                labels += [int(sample.gt_label.item()) for sample in batch.samples]
                parts.append(_by_video(batch.inputs, model, bound, loop, still))
                _check_finite(parts[-1], [sample.filename for sample in batch.samples], loop)
            progress.advance(len(batch.places), batch.wait_s)
    if not parts:
        raise DataError(f'none of the {len(loader.dataset)} videos can be used')
    features, logs, kept = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    return Observations(features, logs, kept, np.array(labels), num_broken)


def _by_video(
    inputs: torch.Tensor, model: Any, variants: Sequence[BoundVariant], loop: Any, still: float
) -> tuple[np.ndarray, ...]:
    """(videos, views, 3, T, H, W) to features, log-probabilities and kept shares, V first."""
    videos, views = inputs.shape[:2]
    found: list[list[Observed]] = [[] for _ in variants]
    for clips in inputs.flatten(0, 1).split(loop.max_views_per_forward):
        for one, observed in zip(found, observe(model, clips, variants, still=still)):
            one.append(observed)
    features, logs, kept = (
        np.stack([np.concatenate([getattr(part, name) for part in one]) for one in found]).reshape(
            len(found), videos, views, -1
        )
        for name in Observed._fields
    )
    return features, scipy.special.logsumexp(logs, axis=2, b=1.0 / views), _mean_over_views(kept)


def _check_finite(part: tuple[np.ndarray, ...], names: Sequence[str], loop: Any) -> None:
    features, logs, _ = part
    finite = all_finite(features).all(-1) & all_finite(logs)
    if not finite.all():
        place = int(np.flatnonzero(~finite.all(0))[0])
        failed = [
            v.name for v, good in zip(loop.variants, finite[:, place], strict=True) if not good
        ]
        raise NotFiniteError(f'{names[place]}: {not_finite_text(failed, "fp32")}')


def _mean_over_views(kept: np.ndarray) -> np.ndarray:
    """(V, videos, views, 2) to (V, videos, 2); NaN where no view has such tubelets."""
    known = ~np.isnan(kept)
    total, number = np.where(known, kept, 0.0).sum(2), known.sum(2)
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)


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
    config: Config, model: PrunableRecognizer, files: Sequence[str | os.PathLike[str]]
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


def one_crop_of(config: Config, files: Sequence[str | os.PathLike[str]]) -> tuple[Any, int]:
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
    config: Config, model: PrunableRecognizer, name: str, sample: dict[str, Any], num_crops: int
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
    clip = normalised(sample, model.data_preprocessor)
    notes = [f'clip {middle + 1} of {num_clips}'] if num_clips > 1 else []
    notes += [f'the middle of {num_crops} crops'] if num_crops > 1 else []
    return View(name, inputs[middle].permute(1, 2, 3, 0).numpy(), clip, ', '.join(notes))
