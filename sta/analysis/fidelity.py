"""What pruning leaves of what a model computes: features, predictions, and which tubelets stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sta.models.prunable import BoundVariant, PrunableBackbone, PrunableRecognizer
from sta.pruning import Variant, tubelet_changes

from .places import StageTokens, token_grid, tokens_of_stages


class Observed(NamedTuple):
    """Clips under one variant.

    Attributes:
        features: (B, C) float32, the pooled feature that the head sees.
        log_probabilities: (B, classes) float32.
        kept: (B, 2) float64, share of the tubelets that change and of those that stand still which
            are left after the last pruning stage, 0 to 1; NaN where a clip has none of a kind, 1
            where nothing is dropped.
    """

    features: np.ndarray
    log_probabilities: np.ndarray
    kept: np.ndarray


@torch.inference_mode()
def observe(
    model: PrunableRecognizer,
    clips: Tensor,
    variants: Sequence[Variant | BoundVariant],
    *,
    still: float,
) -> list[Observed]:
    """Run clips under every variant.

    Args:
        model: a recognizer with a backbone of ours, in evaluation mode.
        clips: (B, 3, frames, H, W), preprocessed.
        variants: pruner and schedule each.
        still: a tubelet stands still when it differs less from the one before it, see
            :func:`sta.pruning.tubelet_changes`; those of the first frame are not counted.

    Raises:
        ScheduleError: a variant does not fit the model.
    """
    found = []
    for variant in variants:
        with model.backbone.using(variant):
            feature, kept = model.backbone(clips, return_kept=True)
            logits = model.cls_head(feature)
            left = _left(model.backbone, kept, clips.shape[1:])
            found.append(
                Observed(
                    feature.flatten(2).mean(-1).float().cpu().numpy()
                    if feature.dim() > 2
                    else feature.float().cpu().numpy(),
                    logits.float().log_softmax(-1).cpu().numpy(),
                    _kept_shares(clips, left, still),
                )
            )
    return found


def _left(
    backbone: PrunableBackbone, kept: Sequence[Tensor], clip_shape: Sequence[int]
) -> StageTokens | None:
    """The tokens behind the last stage that drops; None where nothing is dropped."""
    if backbone.pruner.at_input:
        return StageTokens(token_grid(backbone, clip_shape), None, kept[0])
    stages = zip(
        backbone.schedule.stages, tokens_of_stages(backbone, kept, clip_shape), strict=True
    )
    dropping = [tokens for stage, tokens in stages if stage.num_drop]
    return dropping[-1] if dropping else None


def _kept_shares(clips: Tensor, left: StageTokens | None, still: float) -> np.ndarray:
    if left is None:
        return np.ones((len(clips), 2))
    frames, rows, columns = left.grid.size
    cell = left.grid.cell
    # Grids are as large as the clip padded to whole tokens; what was padded stands still.
    missing = [n * c - size for n, c, size in zip(left.grid.size, cell, clips.shape[2:])]
    padding = [pad for size in reversed(missing) for pad in (0, max(size, 0))]
    padded = torch.nn.functional.pad(clips, padding)
    padded = padded[..., : frames * cell[0], : rows * cell[1], : columns * cell[2]]
    moving = (tubelet_changes(padded, left.grid.size) >= still).flatten(1)
    # One place more than the grid takes the -1 behind clips that keep fewer tokens.
    stays = torch.zeros(len(clips), frames * rows * columns + 1, dtype=torch.bool)
    stays.scatter_(1, left.left.cpu() % stays.shape[1], True)
    stays = stays[:, rows * columns : -1]
    return np.array(
        [[_share(row, of), _share(row, ~of)] for row, of in zip(stays, moving.cpu(), strict=True)]
    )


def _share(kept: Tensor, of: Tensor) -> float:
    return float(kept[of].double().mean()) if of.any() else float('nan')
