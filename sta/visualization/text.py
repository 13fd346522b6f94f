"""Words on pictures, in the font that comes with matplotlib: equal on every machine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = (20, 20, 20)
FAINT = (95, 95, 95)


@lru_cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of ``size`` pixels."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    path = Path(matplotlib.get_data_path(), 'fonts', 'ttf', name)
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Pixels from the first letter's left to the last one's right."""
    return int(np.ceil(font(size, bold=bold).getlength(text)))


def write(
    picture: Image.Image,
    text: str,
    place: tuple[int, int],
    *,
    size: int,
    bold: bool = False,
    colour: tuple[int, int, int] = INK,
    anchor: str = 'la',
) -> None:
    """Write one line.

    Args:
        picture: RGB, changed.
        text: the line.
        place: x and y of the anchor.
        size: of the font, in pixels.
        bold: heavier letters.
        colour: RGB.
        anchor: Pillow's: 'la' left and top, 'mm' middle, 'rs' right and baseline, ...
    """
    ImageDraw.Draw(picture).text(
        place, text, fill=colour, font=font(size, bold=bold), anchor=anchor
    )


def shortened(text: str, width: int, size: int, *, bold: bool = False) -> str:
    """The text, cut in its middle where it is wider than ``width`` pixels."""
    if text_width(text, size, bold=bold) <= width:
        return text
    for room in range(len(text) - 1, 0, -1):
        cut = text[: (room + 1) // 2] + '…' + text[len(text) - room // 2 :]
        if text_width(cut, size, bold=bold) <= width:
            return cut
    return '…'
