"""Rows put together: a sheet with a column per tubelet, a film, and a sheet of many videos."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import NamedTuple

import av
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .maps import Limits, Row, colour_bar, resized

# Neither the white of dropped patches nor the grey of tokens without a score.
PAPER = (233, 236, 240)
FONT, SMALL, GAP, MARGIN = 13, 11, 4, 8
LINE = 16
BAR = 12
SHEET_SIDE, FILM_SIDE, CONTACT_SIDE = 128, 192, 80


class Layout(NamedTuple):
    """Where the panels of a sheet are.

    Attributes:
        left, top: of the first panel.
        width, height: of a panel.
        columns: the frame that each column shows.
    """

    left: int
    top: int
    width: int
    height: int
    columns: tuple[int, ...]

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """x and y of a panel's upper left pixel."""
        return (
            self.left + column * (self.width + GAP),
            self.top + row * (self.height + GAP),
        )


def shown_frames(num_frames: int, tubelet: int, max_columns: int) -> tuple[int, ...]:
    """The first frame of every tubelet, or of evenly spaced ones where they are too many."""
    firsts = range(0, num_frames, tubelet)
    count = min(max_columns, len(firsts))
    return tuple(firsts[i * len(firsts) // count] for i in range(count))


def layout_of(rows: Sequence[Row], title: Sequence[str], columns: Sequence[int]) -> Layout:
    """Room for every label, and panels of one size."""
    panel = resized(rows[0].panels[0], SHEET_SIDE)
    widest = max(
        *(text_width(row.title, FONT, bold=True) for row in rows),
        *(text_width(note, SMALL) for row in rows for note in row.notes),
    )
    top = MARGIN + (len(title) + 1) * LINE + 2
    return Layout(MARGIN + widest + 2 * GAP, top, panel.shape[1], panel.shape[0], tuple(columns))


def draw_sheet(
    rows: Sequence[Row], *, title: Sequence[str], tubelet: int, max_columns: int = 8
) -> np.ndarray:
    """A row per thing, a column per tubelet, showing its first frame.

    Args:
        rows: with panels of one size.
        title: lines above.
        tubelet: frames that share their tokens.
        max_columns: tubelets shown at most, evenly spaced.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    columns = shown_frames(len(rows[0].panels), tubelet, max_columns)
    layout = layout_of(rows, title, columns)
    height = max(layout.height, 4 * LINE)
    layout = layout._replace(height=height)
    bars = max(
        [0, *(_bar_room(row.limits) for row in rows if row.limits)],
    )
    right, bottom = layout.corner(len(rows), len(columns))
    picture = Image.new('RGB', (right + bars + MARGIN - GAP, bottom + MARGIN - GAP), PAPER)
    _head(picture, title)
    for column, frame in enumerate(columns):
        last = min(frame + tubelet, len(rows[0].panels))
        label = f'{frame + 1}' if last == frame + 1 else f'{frame + 1}-{last}'
        x, y = layout.corner(0, column)
        text = f'frames {label}' if column == 0 and layout.width >= 90 else label
        write(picture, text, (x + layout.width // 2, y - 3), size=SMALL, anchor='ms')
    for number, row in enumerate(rows):
        _label(picture, row, layout.corner(number, 0)[1])
        for column, frame in enumerate(columns):
            panel = Image.fromarray(resized(row.panels[frame], SHEET_SIDE))
            picture.paste(panel, layout.corner(number, column))
        if row.limits:
            _bar(picture, row.limits, (right, layout.corner(number, 0)[1]), layout.height)
    return np.asarray(picture)


def _head(picture: Image.Image, title: Sequence[str]) -> None:
    for number, line in enumerate(title):
        room = picture.width - 2 * MARGIN
        text = shortened(line, room, FONT, bold=number == 0)
        write(picture, text, (MARGIN, MARGIN + number * LINE), size=FONT, bold=number == 0)


def _label(picture: Image.Image, row: Row, top: int) -> None:
    write(picture, row.title, (MARGIN, top), size=FONT, bold=True)
    for number, note in enumerate(row.notes):
        place = (MARGIN, top + LINE + number * (SMALL + 3))
        write(picture, note, place, size=SMALL, colour=FAINT)


def _bar_room(limits: Limits) -> int:
    return GAP + BAR + GAP + max(text_width(_number(value), SMALL) for value in limits)


def _bar(picture: Image.Image, limits: Limits, place: tuple[int, int], height: int) -> None:
    """Colour scale at the right of a row, its ends written beside it."""
    x, y = place
    picture.paste(Image.fromarray(colour_bar(height, BAR)), (x + GAP, y))
    for value, line, anchor in ((limits.high, y, 'la'), (limits.low, y + height, 'ls')):
        place = (x + 2 * GAP + BAR, line)
        write(picture, _number(value), place, size=SMALL, anchor=anchor)


def _number(value: float) -> str:
    return f'{value:.2g}'


def draw_frames(rows: Sequence[Row], *, title: Sequence[str], columns: int = 4) -> list[np.ndarray]:
    """All rows beside each other, a picture for every frame: a film's.

    Args:
        rows: with panels of one size.
        title: lines above.
        columns: panels beside each other.

    Returns:
        One (H, W, 3) uint8 RGB per frame, with even sides, as video codecs ask for.
    """
    panel = resized(rows[0].panels[0], FILM_SIDE)
    columns = min(columns, len(rows))
    width = max(panel.shape[1], 150)
    step = panel.shape[0] + 2 * LINE + GAP
    top = MARGIN + len(title) * LINE + MARGIN
    size = (
        2 * MARGIN + columns * (width + GAP) - GAP,
        top + ceil(len(rows) / columns) * step + MARGIN,
    )
    page = Image.new('RGB', tuple(n + n % 2 for n in size), PAPER)
    _head(page, title)
    corners = []
    for number, row in enumerate(rows):
        x = MARGIN + number % columns * (width + GAP)
        y = top + number // columns * step
        write(page, shortened(row.title, width, FONT, bold=True), (x, y), size=FONT, bold=True)
        write(page, _caption(row, width), (x, y + LINE), size=SMALL, colour=FAINT)
        corners.append((x, y + 2 * LINE))
    pictures = []
    for frame in range(len(rows[0].panels)):
        picture = page.copy()
        for row, corner in zip(rows, corners, strict=True):
            picture.paste(Image.fromarray(resized(row.panels[frame], FILM_SIDE)), corner)
        pictures.append(np.asarray(picture))
    return pictures


def _caption(row: Row, width: int) -> str:
    """Ends of the colour scale and as many notes as one line holds."""
    parts = list(row.notes)
    if row.limits:
        parts.insert(0, f'{_number(row.limits.low)} to {_number(row.limits.high)}')
    while len(parts) > 1 and text_width(', '.join(parts), SMALL) > width:
        parts.pop()
    return shortened(', '.join(parts), width, SMALL)


def contact_strip(
    name: str, frames: Row, left: Row, *, tubelet: int, max_columns: int = 8
) -> np.ndarray:
    """One video of a contact sheet: frames, and under them what is left of them.

    Args:
        name: of the video.
        frames: the input.
        left: after the last stage.
        tubelet: frames that share their tokens.
        max_columns: tubelets shown at most, evenly spaced.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    columns = shown_frames(len(frames.panels), tubelet, max_columns)
    height, width = resized(frames.panels[0], CONTACT_SIDE).shape[:2]
    length = 2 * MARGIN + len(columns) * (width + GAP) - GAP
    strip = Image.new('RGB', (length, LINE + 2 * (height + 1) + MARGIN), PAPER)
    text = shortened(f'{name}  {" ".join(left.notes)}', length - 2 * MARGIN, SMALL)
    write(strip, text, (MARGIN, 1), size=SMALL)
    for line, row in enumerate((frames, left)):
        for column, frame in enumerate(columns):
            place = (MARGIN + column * (width + GAP), LINE + line * (height + 1))
            strip.paste(Image.fromarray(resized(row.panels[frame], CONTACT_SIDE)), place)
    return np.asarray(strip)


def contact_sheet(strips: Sequence[np.ndarray], *, title: str) -> np.ndarray:
    """Strips of many videos below each other and a line above; (H, W, 3) uint8 RGB."""
    top = MARGIN + LINE + 2
    width = max(strip.shape[1] for strip in strips)
    sheet = Image.new('RGB', (width, top + sum(len(strip) for strip in strips)), PAPER)
    _head(sheet, [title])
    for strip in strips:
        sheet.paste(Image.fromarray(strip), (0, top))
        top += len(strip)
    return np.asarray(sheet)


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


SUFFIXES = ('.png', '.gif', '.mp4')
FRAMES_PER_SECOND = 4


def png_bytes(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as PNG; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format='png', optimize=True)
    return buffer.getvalue()


def gif_bytes(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures (H, W, 3) uint8 RGB as a GIF that plays for ever, 4 a second.

    All of them share one palette without dithering: what stands still does not flicker.
    """
    together = Image.fromarray(np.concatenate(list(pictures)))
    palette = together.quantize(256, method=Image.Quantize.MEDIANCUT)
    first, *rest = (
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    )
    buffer = io.BytesIO()
    first.save(
        buffer,
        format='gif',
        save_all=True,
        append_images=rest,
        duration=1000 // FRAMES_PER_SECOND,
        loop=0,
    )
    return buffer.getvalue()


def mp4_bytes(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures (H, W, 3) uint8 RGB with even sides as H.264, 4 a second."""
    buffer = io.BytesIO()
    with av.open(buffer, 'w', format='mp4', options={'fflags': '+bitexact'}) as container:
        stream = container.add_stream('libx264', rate=FRAMES_PER_SECOND)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = 'yuv420p'
        # One thread and no look-ahead: equal pictures give equal bytes.
        stream.options = {
            'crf': '18',
            'x264-params': 'threads=1:bframes=0:no-mbtree=1:rc-lookahead=0',
            'flags': '+bitexact',
        }
        for time, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            frame.pts, frame.time_base = time, Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def encode(pictures: Sequence[np.ndarray], suffix: str) -> bytes:
    """One picture as '.png', any number as '.gif' or '.mp4'.

    Raises:
        ValueError: another suffix.
    """
    if suffix == '.png':
        [picture] = pictures
        return png_bytes(picture)
    if suffix not in SUFFIXES:
        raise ValueError(f'suffix must be one of {", ".join(SUFFIXES)}, got {suffix!r}')
    return gif_bytes(pictures) if suffix == '.gif' else mp4_bytes(pictures)
