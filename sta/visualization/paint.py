"""Token maps over pixels: whitened patches, heat maps, colour bars."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import matplotlib
import numpy as np

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
