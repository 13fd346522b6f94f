"""One clip through a pruned model: what every stage kept, and what it ranked its tokens by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sta.analysis.places import StageTokens, TokenGrid, tokens_of_stages
from sta.pruning import (
    Pruned,
    PruningStage,
    StageContext,
    StageScores,
    Variant,
    WatchedPruner,
)


class StageMaps(NamedTuple):
    """A pruning stage as maps (T, H, W) on its token grid.

    Attributes:
        number: from 1.
        stage: its settings.
        grid: size and cell of the grid.
        kept: bool, tokens that are left after the stage.
        importance: float32, semantic importance F (Eq. 4); NaN where the token was gone before.
        redundancy: float32, accumulated redundancy A (Eq. 3) over the mean of its chunk, since the
            algorithm compares inside of a chunk only; NaN also in the first chunk, which has none.
        ranked: float32, the pruning score (Eq. 5) over the mean of its chunk, smallest kept; NaN
            as for redundancy. These three are None where nothing was ranked.
    """

    number: int
    stage: PruningStage
    grid: TokenGrid
    kept: np.ndarray
    importance: np.ndarray | None
    redundancy: np.ndarray | None
    ranked: np.ndarray | None


class Recording(NamedTuple):
    """A clip's forward pass.

    Attributes:
        logits: (classes,) float32.
        stages: in the order of the blocks.
    """

    logits: Tensor
    stages: list[StageMaps]


@torch.no_grad()
def record(model: nn.Module, clip: Tensor) -> Recording:
    """Run a clip under the model's present variant.

    Args:
        model: a recognizer with a backbone of ours, in evaluation mode.
        clip: (1, 3, frames, H, W), preprocessed.

    Raises:
        ValueError: more than one clip, or a pruner that merges: merged tokens have no place on a
            grid, and none of them is dropped.
        ScheduleError: the clip does not suit the schedule.
    """
    backbone = model.backbone
    if len(clip) != 1:
        raise ValueError(f'one clip at a time, got {len(clip)}')
    if backbone.schedule.active and backbone.pruner.merges:
        raise ValueError(f'{type(backbone.pruner).__name__} merges: its tokens have no places')
    scores: dict[int, StageScores] = {}

    def keep(pruned: Pruned, context: StageContext) -> None:
        if pruned.scores is not None:
            scores[context.stage_index] = pruned.scores

    recorder = WatchedPruner(backbone.pruner, after=keep)
    with backbone.using(Variant('recorded', recorder, backbone.schedule)):
        feature, kept = backbone(clip, return_kept=True)
        logits = model.cls_head(feature)[0].float()
        places = tokens_of_stages(backbone, kept, clip.shape[1:])
    stages = [
        _maps(index, stage, tokens, scores.get(index))
        for index, (stage, tokens) in enumerate(zip(backbone.schedule.stages, places, strict=True))
    ]
    return Recording(logits.cpu(), stages)


def _maps(
    index: int, stage: PruningStage, tokens: StageTokens, scores: StageScores | None
) -> StageMaps:
    size = tokens.grid.size
    kept = np.zeros(size, bool)
    kept.flat[tokens.left[0].cpu().numpy()] = True
    maps: list[np.ndarray | None] = [None] * 3
    if scores is not None:
        entered = None if tokens.entered is None else tokens.entered[0].cpu().numpy()
        importance = scores.importance[:, 0].cpu().numpy()
        flat = (
            importance,
            _relative(scores.redundancy, importance.shape[1]),
            _relative(scores.ranked, importance.shape[1]),
        )
        maps = [_on_grid(values.ravel(), entered, size) for values in flat]
    return StageMaps(index + 1, stage, tokens.grid, kept, *maps)


def _relative(chunks: tuple[Tensor | None, ...], length: int) -> np.ndarray:
    """T chunks of (1, N) over their means: (T, N); NaN for the chunk that has no scores."""
    values = np.full((len(chunks), length), np.nan, np.float32)
    for row, chunk in zip(values, chunks, strict=True):
        if chunk is not None:
            mean = float(chunk.mean())
            row[:] = chunk[0].cpu().numpy() / (mean if mean > 0 else 1.0)
    return values


def _on_grid(
    values: np.ndarray, entered: np.ndarray | None, size: tuple[int, int, int]
) -> np.ndarray:
    grid = np.full(size, np.nan, np.float32)
    grid.flat[slice(None) if entered is None else entered] = values
    return grid
