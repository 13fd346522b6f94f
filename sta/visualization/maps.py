"""One clip through a pruned model: what every stage kept, and what it ranked its tokens by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
import torch
from torch import Tensor

from sta.analysis.places import StageTokens, TokenGrid, tokens_of_stages
from sta.models.prunable import BoundVariant, PrunableRecognizer
from sta.pruning import Pruned, PruningStage, StageContext, StageScores, WatchedPruner


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
def record(model: PrunableRecognizer, clip: Tensor) -> Recording:
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
    with backbone.using(BoundVariant('recorded', backbone.schedule, recorder)):
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


@dataclass(frozen=True)
class Row:
    """One thing shown for every frame.

    Attributes:
        title: what it is called.
        notes: what is to be known about it, shorter lines.
        panels: (frames, H, W, 3) uint8 RGB.
        limits: ends of the colour scale; None for photographs.
    """

    title: str
    notes: tuple[str, ...]
    panels: np.ndarray
    limits: Limits | None = None


def input_row(frames: np.ndarray) -> Row:
    """The frames (F, H, W, 3) as the model gets them."""
    return Row('input', ('as the model sees it',), frames)


def kept_rows(frames: np.ndarray, stages: Sequence[StageMaps]) -> list[Row]:
    """Per stage the frames with dropped patches white (STA, Figure 4)."""
    rows = []
    for maps in stages:
        left, total = int(maps.kept.sum()), maps.kept.size
        notes = (f'{left} of {total} tokens', f'{100 * left / total:.0f} %')
        panels = whitened(frames, maps.kept, maps.grid.cell)
        rows.append(Row(f'after stage {maps.number}', notes, panels))
    return rows


def score_rows(
    maps: StageMaps, shape: tuple[int, int, int], *, score: str = 'product'
) -> list[Row]:
    """Importance, redundancy and pruning score of one stage, none where it ranked nothing.

    Args:
        maps: of the stage.
        shape: frames, rows and columns of the picture in pixels.
        score: what the pruner ranks by: 'product', 'temporal' or 'semantic'.
    """
    if maps.importance is None or maps.redundancy is None or maps.ranked is None:
        return []
    formula = {'product': 'A (1 - F)', 'temporal': 'A', 'semantic': '1 - F'}.get(score, score)
    where, relative = f'in stage {maps.number}', 'chunk mean = 1'
    rows = [
        value_row('importance F', (where, 'Eq. 4'), maps.importance, maps.grid, shape, (0, 1)),
        value_row('redundancy A', (where, 'Eq. 3', relative), maps.redundancy, maps.grid, shape),
    ]
    notes = (where, 'Eq. 5; highest go', relative)
    rows.append(value_row(f'score {formula}', notes, maps.ranked, maps.grid, shape))
    return rows


def value_row(
    title: str,
    notes: tuple[str, ...],
    values: np.ndarray,
    grid: TokenGrid,
    shape: tuple[int, int, int],
    limits: tuple[float, float] | None = None,
    *,
    root: bool = False,
) -> Row:
    """A heat map of values (T, H, W) on a token grid; NaN becomes grey.

    Args:
        title, notes: see :class:`Row`.
        values: float.
        grid: that they stand on.
        shape: frames, rows and columns of the picture in pixels.
        limits: of the colour scale; default least and largest value.
        root: colour by square root, where few values dwarf the others; none may be negative.
    """
    scale = limits_of(values) if limits is None else Limits(*limits)
    pixels = over_pixels(values, grid.cell, shape)
    if root:
        colours = coloured(np.sqrt(pixels), Limits(*np.sqrt(scale)))
    else:
        colours = coloured(pixels, scale)
    return Row(title, notes, colours, scale)


# Two sides of every dropped patch: what is white in the video itself has no such lines.
EDGE = 218
# Lighter than anything in the colour map but its last tenth, and without its colour.
NOTHING = (205, 205, 205)
# Grows in lightness all the way, also for colour-blind readers and on a grey printer.
COLOUR_MAP = 'viridis'


class Limits(NamedTuple):
    """Values at the two ends of a colour scale."""

    low: float
    high: float


def over_pixels(
    values: np.ndarray, cell: tuple[int, int, int], shape: tuple[int, int, int]
) -> np.ndarray:
    """Give every pixel the value of the token that it belongs to.

    Args:
        values: (T, H, W, ...).
        cell: frames, rows and columns of pixels of a token.
        shape: frames, rows and columns of pixels; tokens may reach over its edge.

    Returns:
        (frames, rows, columns, ...).

    Raises:
        ValueError: pixels that no token covers.
    """
    for axis, (length, size) in enumerate(zip(shape, cell, strict=True)):
        if length > size * values.shape[axis]:
            raise ValueError(
                f'{values.shape[axis]} tokens of {size} do not cover {length} pixels or frames'
            )
        values = values.take(np.arange(length) // size, axis=axis)
    return values


def whitened(frames: np.ndarray, kept: np.ndarray, cell: tuple[int, int, int]) -> np.ndarray:
    """Frames with the patches of dropped tokens white (STA, Figure 4).

    Their top row and left column of pixels are light grey, so that they differ from white parts of
    the video.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        kept: (T, h, w) bool.
        cell: frames, rows and columns of pixels of a token.
    """
    mask = over_pixels(kept, cell, frames.shape[:3])
    blank = np.full(frames.shape[1:], 255, np.uint8)
    blank[:: cell[1]] = blank[:, :: cell[2]] = EDGE
    return np.where(mask[..., None], frames, blank)


def limits_of(values: np.ndarray) -> Limits:
    """Least and largest value that is no NaN; 0 and 1 where there is none."""
    if np.isnan(values).all():
        return Limits(0.0, 1.0)
    return Limits(float(np.nanmin(values)), float(np.nanmax(values)))


def coloured(values: np.ndarray, limits: Limits) -> np.ndarray:
    """Values of any shape to uint8 RGB (..., 3), NaN to grey."""
    spread = limits.high - limits.low
    share = (values - limits.low) / (spread if spread > 0 else 1.0)
    table = (matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, 256))[:, :3] * 255).round()
    index = np.nan_to_num(share.clip(0, 1) * 255).round().astype(int)
    colours = table.astype(np.uint8)[index]
    colours[np.isnan(values)] = NOTHING
    return colours


def colour_bar(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8, the largest value at the top."""
    ramp = np.linspace(1, 0, height)[:, None].repeat(width, axis=1)
    return coloured(ramp, Limits(0.0, 1.0))


def resized(panel: np.ndarray, side: int) -> np.ndarray:
    """Bring the longer side of (H, W, 3) near ``side``.

    Enlarged by whole numbers with hard edges, so that patches stay patches; made smaller by
    averaging.
    """
    longer = max(panel.shape[:2])
    factor = side // longer
    if factor >= 1:
        return panel.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (max(round(n * side / longer), 1) for n in panel.shape[:2])
    return cv2.resize(panel, (width, height), interpolation=cv2.INTER_AREA)
