"""A data set of listed videos that survives the broken ones, and never replaces one in silence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from sta.errors import DataError, VideoError

from .annotations import as_path, known_classes, legible, read_annotations, read_class_names, sample
from .augmentation import RepeatedAugmentation
from .decoding import DECODERS, DEFAULT_DECODERS, MiscountError, check_file, reason_of
from .guard import Guard, GuardError

Found = TypeVar('Found')
ON_BROKEN = ('skip', 'error')
MAX_REPLACEMENTS = 20


class BrokenVideo(NamedTuple):
    """A video that could not be evaluated.

    Attributes:
        index: place in the list.
        filename: path.
        label: of the list.
        reason: why, in words that follow 'the video cannot be used:'.
    """

    index: int  # type: ignore[assignment]  # hides the method of tuples
    filename: str
    label: int
    reason: str


def sound(found: Iterable[Found | BrokenVideo], broken: list[BrokenVideo]) -> Iterator[Found]:
    """What is no broken video, in its order.

    Args:
        found: videos as they were decoded, or what was made of them.
        broken: the broken ones are put here.
    """
    for one in found:
        if isinstance(one, BrokenVideo):
            broken.append(one)
        else:
            yield one


def report_broken(broken: Sequence[BrokenVideo], num_files: int) -> None:
    """Name the broken ones of some files on stderr.

    Raises:
        DataError: all of them are.
    """
    if len(broken) == num_files:
        raise DataError(f'video {broken[0].filename} cannot be used: {broken[0].reason}')
    for video in broken:
        print(f'left out: {legible(video.filename)}: {video.reason}', file=sys.stderr)


Loaded = dict[str, Any] | list[dict[str, Any]] | BrokenVideo


@DATASETS.register_module()
class VideoListDataset(VideoDataset):
    """Videos named in a text file, see :func:`sta.datasets.annotations.read_annotations`.

    In evaluation each video is decoded in a process of its own, which is given up after a time
    limit. What is done with a video that cannot be decoded says ``on_broken``.

    Args:
        ann_file: the list.
        pipeline: transforms.
        data_prefix: dict(video=folder the paths are relative to).
        num_classes: labels must lie below it; None does not check.
        classes: 'kinetics400', 'ssv2' or a text file with a class name a line; None knows no names.
        max_videos: use a fixed random sample of this many; None uses all.
        on_broken: 'skip' leaves a broken video out and reports it (in training another one takes
            its place, with a line on stderr); 'error' stops.
        decoders: which to try, in this order: 'pyav', 'decord', or one of them. PyAV shows the
            frames that a player shows; decord, which the published evaluations used, others where
            it cannot index a file, and says nothing.
        time_limit_s: seconds one decoder may take for one video, in evaluation.
        test_mode: evaluation rather than training.

    Raises:
        DataError: no such list, or one that contradicts itself or its class folders, see
            :func:`sta.datasets.annotations.read_annotations`; an unknown policy or decoder.
    """

    def __init__(
        self,
        *,
        ann_file: str,
        pipeline: list[Any],
        data_prefix: dict[str, str] | None = None,
        num_classes: int | None = None,
        classes: str | None = None,
        max_videos: int | None = None,
        on_broken: str = 'skip',
        decoders: str | Sequence[str] = DEFAULT_DECODERS,
        time_limit_s: float = 120.0,
        test_mode: bool = False,
    ) -> None:
        if max_videos is not None and max_videos < 1:
            raise DataError(f'max_videos must be at least 1, got {max_videos}')
        if on_broken not in ON_BROKEN:
            raise DataError(f'on_broken must be one of {list(ON_BROKEN)}, got {on_broken!r}')
        decoders = [decoders] if isinstance(decoders, str) else decoders
        if not decoders or set(decoders) - set(DECODERS):
            raise DataError(
                f'decoders must be one or several of {list(DECODERS)}, got {decoders!r}'
            )
        if not isinstance(time_limit_s, int | float) or not time_limit_s > 0:
            raise DataError(f'time_limit_s must be a positive number, got {time_limit_s!r}')
        self.max_videos = max_videos
        self.on_broken = on_broken
        self.decoders = tuple(decoders)
        self.classes = classes
        self.class_names = None if classes is None else read_class_names(classes)
        if self.class_names is not None and num_classes not in (None, len(self.class_names)):
            raise DataError(
                f'num_classes is {num_classes}, but the class list {classes} has '
                f'{len(self.class_names)} names'
            )
        self._guard = Guard(self._load, time_limit_s=time_limit_s)
        super().__init__(
            ann_file,
            pipeline=pipeline,
            data_prefix=data_prefix or dict(video=''),
            num_classes=num_classes,
            test_mode=test_mode,
        )
        if test_mode and self.repeats:
            raise DataError('RepeatedAugmentation is for training: evaluation sees a video once')

    @property
    def repeats(self) -> bool:
        """Whether an item is a list of several augmentations of a video."""
        return any(isinstance(t, RepeatedAugmentation) for t in self.pipeline.transforms)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Parse the list."""
        folder = as_path(self.data_prefix['video'] or '')
        entries = read_annotations(
            self.ann_file,
            num_classes=self.num_classes,
            classes=known_classes(self.classes, self.num_classes),
            folder=folder,
        )
        videos = [dict(filename=os.path.join(folder, path), label=label) for path, label in entries]
        return videos if self.max_videos is None else sample(videos, self.max_videos)

    def missing_files(self) -> list[str]:
        """Videos of the list that are not on the disk."""
        names = (self.get_data_info(i)['filename'] for i in range(len(self)))
        return [name for name in names if not os.path.isfile(name)]

    def __getitem__(self, index: int) -> Loaded:
        """Decode and transform one video.

        Returns:
            What the pipeline gives: a dict, or a list of them from RepeatedAugmentation; in
            evaluation under ``on_broken='skip'`` the broken video.

        Raises:
            DataError: it is broken, under ``on_broken='error'``.
        """
        if not self._fully_initialized:
            self.full_init()
        for _ in range(MAX_REPLACEMENTS):
            loaded = self.load(index) if self.test_mode else self.load_in_place(index)
            if not isinstance(loaded, BrokenVideo):
                return loaded
            broken = loaded
            if self.on_broken == 'error':
                raise DataError(f'video {legible(loaded.filename)} cannot be used: {loaded.reason}')
            if self.test_mode:
                return loaded
            name = legible(loaded.filename)
            print(f'left out of training: {name}: {loaded.reason}', file=sys.stderr)
            index = np.random.randint(len(self))
        raise DataError(
            f'{MAX_REPLACEMENTS} videos in a row of {self.ann_file} cannot be used, at last '
            f'{legible(broken.filename)}: {broken.reason}'
        )

    def load(self, index: int) -> dict[str, Any] | BrokenVideo:
        """One video through the pipeline, guarded; whatever ``on_broken`` says."""
        info = self.get_data_info(index)
        broken = BrokenVideo(index, info['filename'], int(info['label']), '')
        try:
            check_file(broken.filename)
        except VideoError as error:
            return broken._replace(reason=str(error))
        for decoder in self.decoders:
            try:
                loaded = self._guard(index, decoder)
            except GuardError as error:
                loaded = broken._replace(reason=str(error))
            if not isinstance(loaded, BrokenVideo):
                break
        return loaded

    def load_in_place(self, index: int) -> Loaded:
        """One video without a guard, in this process, whose random numbers augmentation draws."""
        for decoder in self.decoders:
            loaded = self._load(index, decoder)
            if not isinstance(loaded, BrokenVideo):
                break
        return loaded

    def _load(self, index: int, decoder: str) -> Loaded:
        info = {**self.get_data_info(index), 'decoder': decoder}
        results = {**info}
        try:
            try:
                data = self.pipeline(results)
            except MiscountError:  # known only now: frames were chosen among too many or too few
                results = {**info, 'recount': True}
                data = self.pipeline(results)
        except Exception as error:  # transforms of any origin meet damaged files in any way
            return BrokenVideo(index, info['filename'], int(info['label']), reason_of(error))
        # A pipeline without OpenVideo decodes as it likes.
        decoded_by = results.get('decoded_by', 'own pipeline')
        facts = dict(index=index, filename=info['filename'], decoder=decoded_by)
        for packed in data if isinstance(data, list) else [data]:
            packed['data_samples'].set_metainfo(facts)
        return data


class VideoFilesDataset(VideoListDataset):
    """Videos without labels, for prediction: every label is 0.

    Args:
        files: paths.
        pipeline: transforms.
        decoders: see :class:`VideoListDataset`.
        time_limit_s: see :class:`VideoListDataset`.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        *,
        pipeline: list[Any],
        decoders: str | Sequence[str] = DEFAULT_DECODERS,
        time_limit_s: float = 120.0,
    ) -> None:
        self.files = [as_path(os.fspath(path)) for path in files]
        super().__init__(
            ann_file='',
            pipeline=pipeline,
            decoders=decoders,
            time_limit_s=time_limit_s,
            test_mode=True,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """The files, in their order."""
        return [dict(filename=path, label=0) for path in self.files]
