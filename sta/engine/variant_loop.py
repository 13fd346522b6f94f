"""One pass over the data evaluates every variant on the same decoded views."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from mmaction.registry import LOOPS
from mmengine.runner import BaseLoop
from torch import Tensor, nn

from sta.analysis import count_costs
from sta.evaluation import Cost, EvaluationResult, VariantResult
from sta.pruning import ScheduleError

from .progress import EvaluationProgress
from .variants import VariantError, expand_variants

PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class VideoScores(NamedTuple):
    """What is known of one finished video: (variants, classes) float32 scores and its label."""

    name: str
    label: int
    scores: np.ndarray


class LocalPart(NamedTuple):
    """What one process knows besides scores.

    Attributes:
        model_s: (variants,) seconds of model time.
        clips: views they were measured on.
        costs: of every variant; None where the process had no video.
        views: views per video; 0 where it had none.
    """

    model_s: np.ndarray
    clips: int
    costs: list[Cost] | None
    views: int


@LOOPS.register_module()
class VariantTestLoop(BaseLoop):
    """Test loop that decodes each video once and scores it under every variant.

    Args:
        runner: mmengine's runner.
        dataloader: its test data loader, or settings of one.
        schedules: what to drop, see :func:`sta.engine.variants.expand_variants`.
        pruners: how to choose, settings of registered pruners.
        precision: 'fp32', 'bf16' or 'fp16' (autocast).
        max_views_per_forward: views in one forward pass at most.
        evaluator: not used; mmengine passes it to every test loop.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        schedules: Sequence[Any],
        pruners: Sequence[Mapping[str, Any]],
        precision: str = 'fp32',
        max_views_per_forward: int = 16,
        evaluator: Any = None,
    ) -> None:
        super().__init__(runner, dataloader)
        if precision not in PRECISIONS:
            raise ValueError(f'precision must be one of {list(PRECISIONS)}, got {precision!r}')
        if max_views_per_forward < 1:
            raise ValueError(
                f'max_views_per_forward must be at least 1, got {max_views_per_forward}'
            )
        self.variants = expand_variants(schedules, pruners)
        self.precision = precision
        self.max_views_per_forward = max_views_per_forward

    def run(self) -> EvaluationResult:
        """Evaluate; every process returns the result over all videos."""
        self.runner.call_hook('before_test')
        model = self.runner.model
        model = getattr(model, 'module', model).eval()
        num_local = len(self.dataloader.sampler)
        shown = not dist.is_initialized() or dist.get_rank() == 0
        finished: dict[int, VideoScores] = {}
        costs: list[Cost] | None = None
        views = 0
        model_s, clips = np.zeros(len(self.variants)), 0
        with EvaluationProgress(num_videos=num_local, shown=shown) as progress:
            for batch, wait_s in _timed(self.dataloader):
                data = model.data_preprocessor(batch, training=False)
                inputs, samples = data['inputs'], data['data_samples']
                views = inputs.shape[1]
                if costs is None:
                    costs = self._count(model, tuple(inputs.shape[2:]))
                    self._warm_up(model, inputs)
                scores, seconds = self._score(model, inputs)
                for sample, video in zip(samples, scores.unbind(0), strict=True):
                    finished[sample.index] = VideoScores(
                        sample.filename, int(sample.gt_label.item()), video.numpy()
                    )
                model_s += seconds
                clips += inputs.shape[0] * views
                progress.advance(len(samples), wait_s)
            wall_s, wait_share = progress.elapsed_s, progress.wait_share
        finished, part = _gather(finished, LocalPart(model_s, clips, costs, views))
        self.runner.call_hook('after_test')
        return self._result(finished, part, wall_s, wait_share)

    def _count(self, model: nn.Module, clip_shape: tuple[int, int, int, int]) -> list[Cost]:
        try:
            return count_costs(model, self.variants, clip_shape)
        except ScheduleError:
            raise
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise VariantError(f'the test pipeline does not suit the model: {reason}') from error

    @torch.no_grad()
    def _warm_up(self, model: nn.Module, inputs: Tensor) -> None:
        """The first forward of a process is slow and would spoil the first variant's clips/s."""
        with model.backbone.using(self.variants[0]), self._autocast(inputs):
            model.extract_feat(inputs[:1, :1], stage='head')

    @torch.no_grad()
    def _score(self, model: nn.Module, inputs: Tensor) -> tuple[Tensor, np.ndarray]:
        """Scores (videos, variants, classes) on the CPU, and seconds per variant."""
        videos, views = inputs.shape[:2]
        flat = inputs.flatten(0, 1)
        scores, seconds = [], []
        for variant in self.variants:
            _synchronise(flat)
            start = time.perf_counter()
            with model.backbone.using(variant), self._autocast(flat):
                logits = [
                    model.extract_feat(part.unsqueeze(1), stage='head')[0].float()
                    for part in flat.split(self.max_views_per_forward)
                ]
            _synchronise(flat)
            seconds.append(time.perf_counter() - start)
            probability = torch.cat(logits).softmax(-1)
            scores.append(probability.unflatten(0, (videos, views)).mean(1))
        return torch.stack(scores, dim=1).cpu(), np.array(seconds)

    def _autocast(self, inputs: Tensor) -> AbstractContextManager:
        dtype = PRECISIONS[self.precision]
        return nullcontext() if dtype is None else torch.autocast(inputs.device.type, dtype=dtype)

    def _result(
        self,
        finished: dict[int, VideoScores],
        part: LocalPart,
        wall_s: float,
        wait_share: float,
    ) -> EvaluationResult:
        videos = [finished[index] for index in sorted(finished)]
        scores = np.stack([video.scores for video in videos])
        return EvaluationResult(
            variants=tuple(
                VariantResult(
                    variant=variant,
                    cost=part.costs[i],
                    scores=scores[:, i],
                    clips_per_s=part.clips / part.model_s[i],
                )
                for i, variant in enumerate(self.variants)
            ),
            labels=np.array([video.label for video in videos]),
            names=tuple(video.name for video in videos),
            views=part.views,
            hardware=describe_hardware(),
            precision=self.precision,
            wall_s=wall_s,
            wait_share=wait_share,
        )


def describe_hardware() -> str:
    """The GPU's name, or the number of CPU threads torch uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'CPU, {torch.get_num_threads()} threads'


def _timed(batches: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Pair every batch with the seconds it was waited for."""
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        yield batch, time.perf_counter() - start


def _synchronise(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def _gather(
    finished: dict[int, VideoScores], part: LocalPart
) -> tuple[dict[int, VideoScores], LocalPart]:
    """Merge what all processes found; videos are keyed by their place in the list, counted once."""
    if not dist.is_initialized():
        return finished, part
    everything: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everything, (finished, part))
    merged: dict[int, VideoScores] = {}
    for videos, _ in everything:
        merged.update(videos)
    parts = [part for _, part in everything]
    informed = next(part for part in parts if part.costs is not None)
    model_s = np.sum([part.model_s for part in parts], axis=0)
    clips = sum(part.clips for part in parts)
    return merged, informed._replace(model_s=model_s, clips=clips)
