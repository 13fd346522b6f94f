"""One pass over the data evaluates every variant on the same decoded views: batches and loops."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from mmaction.registry import LOOPS
from mmengine.dataset import pseudo_collate
from mmengine.runner import BaseLoop, ValLoop
from torch import Tensor
from torch.utils.data import DataLoader

from sta.datasets.annotations import legible
from sta.datasets.guard import KILLED, through_memory
from sta.datasets.progress import VideoProgress
from sta.datasets.video_list import BrokenVideo
from sta.errors import ConfigError, DataError, NotFiniteError
from sta.evaluation import Conditions, EvaluationResult, ScoreStore, Stored, StoredVideo, assemble
from sta.models.prunable import ClipShape, PrunableRecognizer, shape_of
from sta.pruning.variants import expand_variants

from .cli import how_a_worker_died
from .run_folder import RunFolder
from .scoring import PRECISIONS, Scorer, check_on_nonfinite, not_finite_text


class Shard(NamedTuple):
    """One of several parts of a list; batches are dealt out like cards.

    Whole batches, so that a video has the neighbours, and to the last bit the scores, that it has
    when the list is evaluated at once.

    Attributes:
        number: from 1 on.
        count: of all.
    """

    number: int
    count: int  # type: ignore[assignment]  # hides the method of tuples

    def __str__(self) -> str:
        """As it is typed: 2/4."""
        return f'{self.number}/{self.count}'

    def check(self, num_videos: int, batch_size: int) -> None:
        """Refuse a division that leaves shards empty.

        Raises:
            ConfigError: says how many shards are possible, or that there are no batches.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(
                f'batch_size must be a whole number of at least 1, got {batch_size!r}'
            )
        batches = math.ceil(num_videos / batch_size)
        if self.count > batches:
            raise ConfigError(
                f'{self.count} shards are too many: {num_videos} videos in batches of '
                f'{batch_size} make at most {batches}'
            )


WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """A shard as typed, 2/4.

    Raises:
        ConfigError: anything else.
    """
    found = re.fullmatch(r'(\d+)/(\d+)', text.strip())
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.count:
        raise ConfigError(f'--shard takes NUMBER/COUNT such as 1/4 to 4/4, got {text!r}')
    return shard


class Batch(NamedTuple):
    """What the data loader hands over.

    Attributes:
        data: lists of inputs and data samples; None where every video is broken.
        broken: the others.
    """

    data: dict[str, Any] | None
    broken: list[BrokenVideo]


def plan_batches(
    num_videos: int, batch_size: int, done: Container[int], shard: Shard = WHOLE
) -> list[range]:
    """The batches of a shard that hold anything yet to do.

    Batches are cut from the whole list, whatever is done and however many processes there are, so
    that a video always meets the same neighbours and gets the same score to the last bit.

    Args:
        num_videos: of the list.
        batch_size: videos per batch; the last one may be smaller.
        done: places that are finished.
        shard: every so many-th batch; default all.
    """
    batches = (
        range(start, min(start + batch_size, num_videos))
        for start in range((shard.number - 1) * batch_size, num_videos, shard.count * batch_size)
    )
    return [batch for batch in batches if not all(place in done for place in batch)]


def collate(samples: Sequence[dict[str, Any] | BrokenVideo]) -> Batch:
    """Put the sound ones into lists, the broken ones beside them."""
    broken = [sample for sample in samples if isinstance(sample, BrokenVideo)]
    sound = [sample for sample in samples if not isinstance(sample, BrokenVideo)]
    return Batch(pseudo_collate(sound) if sound else None, broken)


def load_batches(like: DataLoader[Any], batches: Sequence[range]) -> Iterator[Batch]:
    """Load these batches, in this order, with the workers of a data loader.

    Args:
        like: a built data loader; its sampler and collation are not used.
        batches: places in its data set.

    Raises:
        DataError: the workers cannot be started.
    """
    if not batches:
        return iter(())
    loader = DataLoader(
        like.dataset,
        batch_sampler=[list(batch) for batch in batches],
        num_workers=like.num_workers,
        collate_fn=collate,
        pin_memory=like.pin_memory,
        worker_init_fn=like.worker_init_fn,
        prefetch_factor=like.prefetch_factor,
        multiprocessing_context=like.multiprocessing_context,
    )
    try:
        return iter(through_memory(loader))
    except OSError as error:
        raise DataError(
            f'{like.num_workers} data loading workers cannot be started: {error.strerror}; '
            f'run the same command again with {_fewer("test_dataloader")}'
        ) from None


@contextmanager
def living_workers(
    part: str = 'test_dataloader', *, again: str = 'run the same command again'
) -> Iterator[None]:
    """Say in one line that a data loading worker died, how, and what helps; around a loop.

    torch raises it wherever the loop happens to be.

    Args:
        part: of the config that describes the data loader.
        again: what to do, but for the settings that help.

    Raises:
        DataError: one died, or its decoding process again and again.
    """
    try:
        yield
    except Exception as error:  # whatever was made of it where it was raised
        died = how_a_worker_died(error)
        if died is None:
            raise
        raise DataError(f'{died}; {again} with {_fewer(part)}') from None


def _fewer(part: str) -> str:
    return f'fewer workers (--cfg-options {part}.num_workers=N, 0 for none) or more memory'


class Loaded(NamedTuple):
    """A batch on the model's device.

    Attributes:
        places: of its videos in the list.
        inputs: (videos, views, 3, T, H, W) of the sound ones, preprocessed; None where all are
            broken.
        samples: their data samples.
        broken: the others.
        wait_s: seconds it was waited for.
    """

    places: range
    inputs: Tensor | None
    samples: list[Any]
    broken: list[BrokenVideo]
    wait_s: float


def loaded(
    loader: DataLoader[Any], batches: Sequence[range], model: PrunableRecognizer
) -> Iterator[Loaded]:
    """Load batches as a model takes them; the workers are there when this returns.

    Args:
        loader: see :func:`load_batches`.
        batches: places in its data set.
        model: its data preprocessor normalises.

    Raises:
        DataError: the workers cannot be started.
    """
    found = timed(load_batches(loader, batches))

    def one(places: range, batch: Batch, wait_s: float) -> Loaded:
        if batch.data is None:
            return Loaded(places, None, [], batch.broken, wait_s)
        with torch.no_grad():
            data = model.data_preprocessor(batch.data, training=False)
        return Loaded(places, data['inputs'], data['data_samples'], batch.broken, wait_s)

    return (one(places, *batch) for places, batch in zip(batches, found, strict=True))


def timed(batches: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Pair every batch with the seconds it was waited for."""
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        yield batch, time.perf_counter() - start


class LocalPart(NamedTuple):
    """What one process found in this session.

    Attributes:
        videos: by place in the list.
        model_s: (variants,) seconds of model time.
        clips: views they were measured on.
        clip_shape: (3, T, H, W) of a view; None where the process scored none.
        views: views per video; 0 where it scored none.
    """

    videos: dict[int, StoredVideo]
    model_s: np.ndarray
    clips: int = 0
    clip_shape: ClipShape | None = None
    views: int = 0


@LOOPS.register_module()
class VariantTestLoop(BaseLoop):
    """Test loop that decodes each video once and scores it under every variant.

    Args:
        runner: mmengine's runner.
        dataloader: its test data loader, or settings of one.
        schedules: what to drop, see :func:`sta.pruning.expand_variants`.
        pruners: how to choose, settings of registered pruners.
        precision: 'fp32', 'bf16' or 'fp16' (autocast).
        max_views_per_forward: views in one forward pass at most; halved when memory is short.
        on_nonfinite: a video whose scores are NaN or infinite under a variant stops the run
            ('error'), or counts as wrong for that variant ('wrong').
        evaluator: not used; mmengine passes it to every test loop.

    Attributes:
        folder: where the run writes; None where it keeps its scores in memory.
        store: where scores are kept as they come, and found again.
        retry_broken: decode stored videos again that could not be decoded.
        shard: which part of the list is evaluated; default all.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        schedules: Sequence[Any],
        pruners: Sequence[Mapping[str, Any]],
        precision: str = 'fp32',
        max_views_per_forward: int = 16,
        on_nonfinite: str = 'error',
        evaluator: Any = None,
    ) -> None:
        super().__init__(runner, dataloader)
        if precision not in PRECISIONS:
            raise ValueError(f'precision must be one of {list(PRECISIONS)}, got {precision!r}')
        if max_views_per_forward < 1:
            raise ValueError(
                f'max_views_per_forward must be at least 1, got {max_views_per_forward}'
            )
        model = getattr(runner.model, 'module', runner.model)
        self.variants = expand_variants(schedules, pruners, model.backbone.pruner_defaults)
        self.precision = precision
        self.max_views_per_forward = max_views_per_forward
        self.on_nonfinite = check_on_nonfinite(on_nonfinite)
        self.folder: RunFolder | None = None
        self.store: ScoreStore | None = None
        self.retry_broken = False
        self.shard = WHOLE

    def run(self) -> EvaluationResult:
        """Evaluate what is not stored; every process returns the result over all videos.

        Raises:
            DataError: not one video can be used.
            NotFiniteError: scores are NaN or infinite; those of the batches before are stored.
        """
        self.runner.call_hook('before_test')
        model = self.runner.model
        scorer = Scorer(
            getattr(model, 'module', model).eval(),
            self.variants,
            precision=self.precision,
            max_views_per_forward=self.max_views_per_forward,
        )
        before = self._to_keep(self._stored())
        batches = self._own_batches(before)
        shown = not dist.is_initialized() or dist.get_rank() == 0
        # The workers are forked first: a thread that draws must not be there then.
        incoming = loaded(self.dataloader, batches, scorer.model)
        progress = VideoProgress(
            num_videos=sum(map(len, batches)),
            num_stored=self._num_stored(batches),
            shown=shown and bool(batches),
        )
        scorer.on_views = progress.count_views
        again = 'run the same command again'
        if self.store is not None:
            again = f'what was scored is kept: {again}'
        with living_workers(again=again), progress:
            local = self._score_batches(scorer, incoming, progress)
            wall_s, wait_share = progress.elapsed_s, progress.wait_share
        merged = _gather(local)
        if self.store is not None:
            self.store.close()
        self.runner.call_hook('after_test')
        return self._result(scorer, before, merged, wall_s, wait_share)

    def _stored(self) -> Stored:
        nothing = Stored({}, 0, np.zeros(len(self.variants)), None, 0)
        stored = nothing if self.store is None else self.store.read()
        if dist.is_initialized():
            # Nobody writes before everybody has read: all must see the same.
            dist.barrier()
        return stored

    def _to_keep(self, stored: Stored) -> Stored:
        """What is stored but for videos that are to be scored again."""
        kept = {place: video for place, video in stored.videos.items() if self._is_good(video)}
        return stored._replace(videos=kept)

    def _is_good(self, video: StoredVideo) -> bool:
        """Whether what is stored of a video still counts."""
        if video.scores is None:
            # That a process was killed says nothing about the video.
            going_on = self.folder is not None and self.folder.state != 'finished'
            return not (self.retry_broken or (going_on and KILLED in video.reason))
        # Older versions stored scores that are not finite as if good; what counts as wrong says so.
        return video.is_finite or (self.on_nonfinite == 'wrong' and bool(video.reason))

    def _own_batches(self, before: Stored) -> list[range]:
        batches = plan_batches(
            len(self.dataloader.dataset), self.dataloader.batch_size, before.videos, self.shard
        )
        if not dist.is_initialized():
            return batches
        return batches[dist.get_rank() :: dist.get_world_size()]

    def _num_stored(self, left: Sequence[range]) -> int:
        """Videos of this process that need not be scored again; of one process alone."""
        if dist.is_initialized():
            return 0
        dataset, size = self.dataloader.dataset, self.dataloader.batch_size
        planned = plan_batches(len(dataset), size, (), self.shard)
        return sum(map(len, planned)) - sum(map(len, left))

    def _score_batches(
        self, scorer: Scorer, incoming: Iterable[Loaded], progress: VideoProgress
    ) -> LocalPart:
        parts = [LocalPart({}, np.zeros(len(self.variants)))]
        for batch in incoming:
            found = self._score_batch(scorer, batch, first=len(parts) == 1)
            if self.store is not None:
                self.store.add(
                    batch.places.start,
                    **found._asdict(),
                    conditions=self._conditions(scorer, found.clip_shape).as_text()
                    if found.clip_shape
                    else None,
                )
            parts.append(found)
            progress.advance(len(batch.places), batch.wait_s)
        return merge_parts(parts)

    def _score_batch(self, scorer: Scorer, batch: Loaded, *, first: bool) -> LocalPart:
        videos = {
            video.index: StoredVideo(
                legible(video.filename), video.label, None, reason=video.reason
            )
            for video in batch.broken
        }
        if batch.inputs is None:
            return LocalPart(videos, np.zeros(len(self.variants)))
        inputs = batch.inputs
        clip_shape = shape_of(inputs)
        if first:
            scorer.count(clip_shape)  # views that do not suit the model are refused at once
            scorer.warm_up(inputs)
        scored = scorer.score(inputs)
        for i, sample in enumerate(batch.samples):
            videos[sample.index] = StoredVideo(
                legible(sample.filename),
                int(sample.gt_label.item()),
                scored.scores[i].numpy(),
                sample.decoder,
                self._judged(sample.filename, scored.finite[i]),
                None if scored.costs is None else scored.costs[i],
            )
        views = inputs.shape[1]
        return LocalPart(videos, scored.seconds, inputs.shape[0] * views, clip_shape, views)

    def _judged(self, name: str, finite: np.ndarray) -> str:
        """What is stored of scores that are not finite; '' where all are.

        Raises:
            NotFiniteError: they stop the run.
        """
        failed = [v.name for v, good in zip(self.variants, finite, strict=True) if not good]
        if not failed:
            return ''
        if self.on_nonfinite == 'error':
            going_on = '; what was scored before is stored, the same command goes on from there'
            raise NotFiniteError(
                f'{name}: {not_finite_text(failed, self.precision)}; '
                f"test_cfg.on_nonfinite='wrong' (--on-nonfinite wrong) goes on and counts such "
                f'videos as wrong{going_on if self.store is not None else ""}'
            )
        return f'scores not finite, counted as wrong: {", ".join(failed)}'

    def _result(
        self, scorer: Scorer, before: Stored, new: LocalPart, wall_s: float, wait_share: float
    ) -> EvaluationResult:
        videos = {**before.videos, **new.videos}
        shape = new.clip_shape or before.clip_shape
        all_of_it = Stored(
            videos,
            before.clips + new.clips,
            before.model_s + new.model_s,
            shape,
            new.views or before.views,
        )
        return assemble(
            all_of_it,
            # Where nothing was scored there are no costs, and no result.
            Conditions((), (), '', '', None) if shape is None else self._conditions(scorer, shape),
            wall_s=wall_s,
            wait_share=wait_share,
            resumed=len(set(before.videos) - set(new.videos)),
            part='' if self.shard == WHOLE else f'shard {self.shard} of the list',
        )

    def _conditions(self, scorer: Scorer, clip_shape: ClipShape) -> Conditions:
        return Conditions(
            variants=tuple(self.variants),
            costs=tuple(scorer.count(clip_shape)),
            precision=self.precision,
            hardware=describe_hardware(),
            class_list=getattr(self.dataloader.dataset, 'classes', None),
            unpruned_gflops=scorer.count_unpruned(clip_shape),
        )


def describe_hardware() -> str:
    """The GPU's name, or the number of CPU threads torch uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    number = torch.get_num_threads()
    return f'CPU, {number} thread{"s"[: number != 1]}'


def merge_parts(parts: Sequence[LocalPart]) -> LocalPart:
    """One part of several, of batches or of processes; a video counts once, the last one wins."""
    videos: dict[int, StoredVideo] = {}
    for part in parts:
        videos.update(part.videos)
    informed = next((part for part in parts if part.clip_shape is not None), parts[0])
    return informed._replace(
        videos=videos,
        model_s=np.sum([part.model_s for part in parts], axis=0),
        clips=sum(part.clips for part in parts),
    )


def _gather(part: LocalPart) -> LocalPart:
    """What all processes found, for each of them."""
    if not dist.is_initialized():
        return part
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return merge_parts(parts)


@LOOPS.register_module()
class SoundVideosValLoop(ValLoop):
    """mmengine's ValLoop that leaves broken videos out and logs how many, instead of ending there.

    Args:
        runner: mmengine's runner.
        dataloader: its validation data loader, or settings of one; its data set leaves
            BrokenVideo in place of what it cannot decode, as VideoListDataset does.
        evaluator: metrics.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.dataloader.collate_fn = collate
        through_memory(self.dataloader)
        self.num_broken = 0

    def run(self) -> dict[str, float]:
        """Validate; the metrics are those of the videos that could be decoded."""
        self.num_broken = 0
        with living_workers('val_dataloader'):
            metrics = super().run()
        if self.num_broken:
            self.runner.logger.warning(
                f'{self.num_broken} validation videos could not be decoded in this process and '
                f'count nowhere'
            )
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Batch) -> None:
        """Score what is sound of a batch."""
        self.num_broken += len(data_batch.broken)
        if data_batch.data is not None:
            super().run_iter(idx, data_batch.data)
