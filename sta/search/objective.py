"""How far predictions under a schedule are from those of the whole model, without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.datasets.errors import DataError
from sta.datasets.video_list import BrokenVideo
from sta.engine.scoring import NotFiniteError, not_finite_text
from sta.pruning import Variant

from .space import Stages


class SearchClips(NamedTuple):
    """Clips to search on, decoded once and kept in memory.

    Attributes:
        clips: one view (3, T, H, W) of each, as the pipeline leaves it (uint8 as a rule).
        num_broken: videos that were left out.
        names: file of each.
    """

    clips: list[Tensor]
    num_broken: int
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Any) -> SearchClips:
        """Decode the middle view of every video of a data set; its labels are not looked at.

        Raises:
            DataError: not one of them can be decoded.
        """
        clips, names, num_broken = [], [], 0
        for index in range(len(dataset)):
            sample = dataset[index]
            if isinstance(sample, BrokenVideo):
                num_broken += 1
                continue
            views = sample['inputs']
            clips.append(views[len(views) // 2].clone())
            names.append(getattr(sample.get('data_samples'), 'filename', f'clip {index + 1}'))
        if not clips:
            raise DataError(f'none of the {len(dataset)} videos to search on can be decoded')
        return cls(clips, num_broken, tuple(names))


class Distance(NamedTuple):
    """From the whole model's predictions, mean over clips.

    Attributes:
        divergence_nats: Kullback-Leibler divergence of the pruned prediction from the whole one.
        agreement_percent: clips with the same most probable class.
    """

    divergence_nats: float
    agreement_percent: float


def objective_of(
    model: nn.Module,
    pruner: Any,
    clips: Sequence[Tensor],
    *,
    batch_size: int,
    names: Sequence[str] = (),
) -> Callable[[Stages], Distance]:
    """Compare schedules with no pruning on fixed clips.

    Args:
        model: a recognizer in evaluation mode, on its device.
        pruner: settings.
        clips: see :class:`SearchClips`.
        batch_size: clips in one forward pass.
        names: of the clips, for messages.

    Raises:
        NotFiniteError: logits are NaN or infinite; what is returned raises it likewise.
    """
    whole = _log_probabilities(model, Variant('unpruned'), clips, batch_size, names)

    def distance(stages: Stages) -> Distance:
        trial = Variant(f'the schedule {stages}', pruner, stages)
        found = _log_probabilities(model, trial, clips, batch_size, names)
        divergence = F.kl_div(found, whole, reduction='batchmean', log_target=True)
        same = found.argmax(-1) == whole.argmax(-1)
        return Distance(float(divergence), 100.0 * float(same.double().mean()))

    return distance


@torch.inference_mode()
def _log_probabilities(
    model: nn.Module,
    variant: Variant,
    clips: Sequence[Tensor],
    batch_size: int,
    names: Sequence[str],
) -> Tensor:
    """(clips, classes) float64 on the CPU."""
    parts = []
    with model.backbone.using(variant):
        for start in range(0, len(clips), batch_size):
            batch = [clip.unsqueeze(0) for clip in clips[start : start + batch_size]]
            inputs = model.data_preprocessor(
                {'inputs': batch, 'data_samples': None}, training=False
            )['inputs']
            logits, _ = model.extract_feat(inputs, stage='head')
            failed = (~logits.isfinite().all(-1)).nonzero().flatten()
            if len(failed):
                place = start + int(failed[0])
                name = names[place] if names else f'clip {place + 1}'
                raise NotFiniteError(f'{name}: {not_finite_text([variant.name], "fp32")}')
            parts.append(logits.double().log_softmax(-1).cpu())
    return torch.cat(parts)
