"""The rows of a picture: the frames, what every stage left of them, and maps of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sta.analysis.places import TokenGrid

from .paint import Limits, coloured, limits_of, over_pixels, whitened
from .recording import StageMaps


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
    if maps.importance is None:
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
