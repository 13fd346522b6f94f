"""Scores of decoded views under every variant, in as much memory as there is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sta.analysis import count_costs, gflops_of_tokens
from sta.errors import MemoryShortError, ScheduleError, VariantError
from sta.evaluation import Cost
from sta.models.prunable import ClipShape, PrunableRecognizer, shape_of
from sta.pruning import Variant
from sta.pruning.variants import UNPRUNED

PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
# What becomes of a video whose scores are NaN or infinite: the run stops, or it counts as wrong.
ON_NONFINITE = ('error', 'wrong')


def not_finite_text(variants: Sequence[str], precision: str) -> str:
    """What is wrong with the scores of a video, and what it most often comes from."""
    remedy = {
        'fp16': 'float16 ends at 65504: take bf16 or fp32',
        'bf16': 'do they stay finite in fp32, and do the weights belong to this config?',
    }.get(precision, 'do the weights belong to this config?')
    return (
        f'scores under {", ".join(variants)} in {precision} are not finite (NaN or infinity in the '
        f'logits; {remedy})'
    )


def check_on_nonfinite(value: Any) -> str:
    """The setting ``test_cfg.on_nonfinite``, where it is one.

    Raises:
        VariantError: it is none of ON_NONFINITE.
    """
    if value not in ON_NONFINITE:
        raise VariantError(
            f'test_cfg.on_nonfinite must be one of {list(ON_NONFINITE)}, got {value!r}'
        )
    return value


class Scored(NamedTuple):
    """A batch of videos under every variant.

    Attributes:
        scores: (videos, variants, classes) float32 on the CPU; NaN throughout where any logit of a
            video's views is not finite.
        finite: (videos, variants) bool, where all of them are.
        seconds: (variants,) float64 of model time.
        costs: (videos, variants, 2) float64, tokens and GFLOPs per view, mean over a video's views;
            NaN for variants whose cost does not depend on the clip, None where that is all of them.
    """

    scores: Tensor
    finite: np.ndarray
    seconds: np.ndarray
    costs: np.ndarray | None


class Scorer:
    """Scores views under variants; a forward pass that runs out of memory is halved.

    Args:
        model: a recognizer in evaluation mode.
        variants: pruner and schedule each.
        precision: 'fp32', 'bf16' or 'fp16' (autocast).
        max_views_per_forward: views in one forward pass at most. Halved for good when memory does
            not suffice.

    Raises:
        VariantError: a number of views below 1.

    Attributes:
        precision: as given.
        at_input: of every variant whether it drops at the input, as much as the clip lets it.
        on_views: called with the views that are scored, of all variants, and how many there are.
    """

    def __init__(
        self,
        model: PrunableRecognizer,
        variants: Sequence[Variant],
        *,
        precision: str,
        max_views_per_forward: int,
    ) -> None:
        if not isinstance(max_views_per_forward, int) or max_views_per_forward < 1:
            raise VariantError(
                f'test_cfg.max_views_per_forward must be at least 1, got {max_views_per_forward!r}'
            )
        self.model = model
        self.variants = variants
        self.max_views_per_forward = max_views_per_forward
        self.precision = precision
        self._dtype = PRECISIONS[precision]
        self._costs: dict[tuple[int, ...], list[Cost]] = {}
        self._unpruned: dict[tuple[int, ...], float] = {}
        self._gflops: dict[tuple[int, ...], Callable[[np.ndarray], np.ndarray]] = {}
        self.on_views: Callable[[int, int], None] = lambda done, total: None
        self._bound = [model.backbone.bind(variant) for variant in variants]
        self.at_input = [bound.pruner.at_input for bound in self._bound]

    def count(self, clip_shape: ClipShape) -> list[Cost]:
        """What every variant costs on views (3, T, H, W).

        One whose cost depends on the clips is given what dropping nothing costs.

        Raises:
            ScheduleError, VariantError: the views do not suit the schedules or the model.
        """
        try:
            if clip_shape not in self._costs:
                self._costs[clip_shape] = self._counted(clip_shape)
            return self._costs[clip_shape]
        except ScheduleError:
            raise
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise VariantError(f'the test pipeline does not suit the model: {reason}') from error

    def count_unpruned(self, clip_shape: ClipShape) -> float:
        """GFLOPs of a view (3, T, H, W) without pruning, whether or not that is evaluated."""
        if clip_shape not in self._unpruned:
            own = (cost for cost in self.count(clip_shape) if cost.drops_nothing)
            found = next(own, None) or count_costs(self.model, [Variant(UNPRUNED)], clip_shape)[0]
            self._unpruned[clip_shape] = found.gflops_per_view
        return self._unpruned[clip_shape]

    def _counted(self, clip_shape: ClipShape) -> list[Cost]:
        unpruned = self.model.backbone.bind(Variant(UNPRUNED))
        bound = [unpruned if one.pruner.at_input else one for one in self._bound]
        return count_costs(self.model, bound, clip_shape)

    @torch.inference_mode()
    def warm_up(self, inputs: Tensor) -> None:
        """The first forward of a process is slow and would spoil the first variant's clips/s."""
        with self.model.backbone.using(self._bound[0]), self._autocast(inputs):
            self.model.extract_feat(inputs[:1, :1], stage='head')

    @torch.inference_mode()
    def score(self, inputs: Tensor) -> Scored:
        """Softmax per view, averaged over a video's views.

        Args:
            inputs: (videos, views, 3, T, H, W), preprocessed.
        """
        videos, views = inputs.shape[:2]
        flat = inputs.flatten(0, 1)
        scores, finite, seconds = [], [], []
        self.on_views(0, len(self.variants) * len(flat))
        for number, bound in enumerate(self._bound):
            _synchronise(flat)
            start = time.perf_counter()
            with self.model.backbone.using(bound), self._autocast(flat):
                logits = self._logits(flat, number)
            _synchronise(flat)
            seconds.append(time.perf_counter() - start)
            # A logit of minus infinity leaves no trace in the softmax.
            finite.append(logits.isfinite().all(-1).unflatten(0, (videos, views)).all(1))
            scores.append(logits.softmax(-1).unflatten(0, (videos, views)).mean(1))
        stacked, sound = torch.stack(scores, dim=1).cpu(), torch.stack(finite, dim=1).cpu()
        stacked[~sound] = float('nan')
        return Scored(stacked, sound.numpy(), np.array(seconds), self._costs_of(flat, videos))

    def _costs_of(self, flat: Tensor, num_videos: int) -> np.ndarray | None:
        """What the variants whose cost depends on the clips cost on these views."""
        if not any(self.at_input):
            return None
        backbone, shape = self.model.backbone, shape_of(flat)
        if shape not in self._gflops:
            self._gflops[shape] = gflops_of_tokens(self.model, shape)
        costs = np.full((num_videos, len(self.variants), 2), np.nan)
        for i, bound in enumerate(self._bound):
            if bound.pruner.at_input:
                with backbone.using(bound):
                    kept = np.array([len(places) for places in backbone.kept_at_input(flat)])
                found = np.stack([kept, self._gflops[shape](kept)], axis=-1)
                costs[:, i] = found.reshape(num_videos, -1, 2).mean(1)
        return costs

    def _logits(self, flat: Tensor, number: int) -> Tensor:
        while True:
            try:
                logits, done = [], number * len(flat)
                for part in flat.split(self.max_views_per_forward):
                    logits.append(self.model.extract_feat(part.unsqueeze(1), stage='head')[0])
                    done += len(part)
                    self.on_views(done, len(self.variants) * len(flat))
                return torch.cat([one.float() for one in logits])
            except RuntimeError as error:
                if not _is_memory_short(error):
                    raise
                self._halve()
                reason = str(error).splitlines()[0]
            # Outside of the handler, whose traceback would keep the tensors of the failed pass.
            if self.max_views_per_forward == 0:
                raise MemoryShortError(f'one view does not fit into memory: {reason[:200]}')
            if flat.is_cuda:
                torch.cuda.empty_cache()

    def _halve(self) -> None:
        self.max_views_per_forward //= 2
        if self.max_views_per_forward:
            print(
                f'memory is short: going on with {self.max_views_per_forward} views per forward '
                f'pass (test_cfg.max_views_per_forward)',
                file=sys.stderr,
            )

    def _autocast(self, inputs: Tensor) -> AbstractContextManager[Any]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(inputs.device.type, dtype=self._dtype)


def _is_memory_short(error: RuntimeError) -> bool:
    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        "can't allocate memory" in str(error) or 'not enough memory' in str(error)
    )


def _synchronise(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
