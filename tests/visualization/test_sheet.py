"""Where panels, labels and scales are on a picture."""

from __future__ import annotations

import numpy as np
import pytest

from sta.visualization.maps import Limits, Row, colour_bar, resized
from sta.visualization.sheet import (
    PAPER,
    contact_sheet,
    contact_strip,
    draw_frames,
    draw_sheet,
    layout_of,
    shortened,
    shown_frames,
    text_width,
)


def rows(number: int = 3, frames: int = 16, height: int = 96, width: int = 96) -> list[Row]:
    rng = np.random.default_rng(0)
    panels = rng.integers(0, 256, (number, frames, height, width, 3), dtype=np.uint8)
    limits = [None] + [Limits(0.0, 12345.6)] * (number - 1)
    return [
        Row(f'row number {i}', ('a note', 'another one'), panels[i], limits[i])
        for i in range(number)
    ]


@pytest.mark.parametrize(('height', 'width'), [(96, 96), (40, 56), (224, 300), (20, 24)])
def test_every_panel_is_in_its_place(height: int, width: int) -> None:
    made = rows(height=height, width=width)
    sheet = draw_sheet(made, title=['a', 'b'], tubelet=2, max_columns=4)
    layout = layout_of(made, ['a', 'b'], shown_frames(16, 2, 4))
    step = max(layout.height, 64)
    for i, row in enumerate(made):
        for column, frame in enumerate((0, 4, 8, 12)):
            x, _ = layout.corner(i, column)
            y = layout.top + i * (step + 4)
            panel = resized(row.panels[frame], 128)
            assert (sheet[y : y + len(panel), x : x + panel.shape[1]] == panel).all()


def test_which_frames_are_columns() -> None:
    assert shown_frames(16, 2, 8) == (0, 2, 4, 6, 8, 10, 12, 14)
    assert shown_frames(32, 2, 8) == (0, 4, 8, 12, 16, 20, 24, 28)
    assert shown_frames(7, 2, 8) == (0, 2, 4, 6)
    assert shown_frames(16, 2, 3) == (0, 4, 10)
    assert shown_frames(16, 4, 1) == (0,)


@pytest.mark.parametrize('draw', ['sheet', 'film', 'contact'])
def test_nothing_runs_off_the_edge(draw: str) -> None:
    made = rows(number=5, height=20, width=20)
    title = ['a very long name of a video ' * 20, 'second']
    if draw == 'sheet':
        picture = draw_sheet(made, title=title, tubelet=2)
    elif draw == 'film':
        picture = draw_frames(made, title=title)[0]
    else:
        picture = contact_sheet([contact_strip(title[0], *made[:2], tubelet=2)] * 2, title=title[0])
    border = [picture[:2], picture[-2:], picture[:, :4], picture[:, -4:]]
    assert all((edge == PAPER).all() for edge in border)


def test_the_scale_stands_beside_its_row() -> None:
    made = rows()
    sheet = draw_sheet(made, title=['a'], tubelet=2)
    layout = layout_of(made, ['a'], shown_frames(16, 2, 8))
    x, y = layout.corner(1, 8)
    bar = sheet[y : y + 96, x + 4 : x + 16]
    assert (bar == colour_bar(96, 12)).all()
    width = text_width('1.2e+04', 11)
    for line, ends in ((y, slice(width - 6, width)), (y + 84, slice(0, 8))):
        ink = (sheet[line : line + 12, x + 20 :][:, ends] != PAPER).any(-1)
        assert ink.any()  # the largest value to its last digit, the smallest one below it
    x, y = layout.corner(0, 8)
    assert (sheet[y : y + 96, x:] == PAPER).all()  # a photograph has none


def test_a_film_shows_every_frame_of_every_row() -> None:
    made = rows(number=6, frames=5, height=64, width=64)
    pictures = draw_frames(made, title=['a'], columns=4)
    assert len(pictures) == 5
    for frame, picture in enumerate(pictures):
        assert picture.shape[0] % 2 == 0 and picture.shape[1] % 2 == 0
        for i, row in enumerate(made):
            y, x = 8 + 16 + 8 + 32 + i // 4 * (192 + 36), 8 + i % 4 * 196
            assert (picture[y : y + 192, x : x + 192] == resized(row.panels[frame], 192)).all()


def test_the_contact_sheet_shows_frames_above_what_is_left() -> None:
    made = rows(number=2, height=80, width=80)
    strips = [contact_strip('a', *pair, tubelet=2) for pair in (made, made[::-1])]
    sheet = contact_sheet(strips, title='t')
    top, strip = 8 + 16 + 2, 16 + 2 * 81 + 8
    for number, pair in enumerate((made, made[::-1])):
        for line, row in enumerate(pair):
            y, x = top + number * strip + 16 + line * 81, 8 + 3 * 84
            assert (sheet[y : y + 80, x : x + 80] == row.panels[6]).all()


def test_equal_pictures() -> None:
    one, other = (draw_sheet(rows(), title=['a'], tubelet=2) for _ in range(2))
    assert (one == other).all()


def test_long_names_lose_their_middle() -> None:
    name = 'abcdefghijklmnopqrstuvwxyz.mp4'
    short = shortened(name, 120, 13)
    assert text_width(short, 13) <= 120 and '…' in short
    assert short.startswith('abc') and short.endswith('mp4')
    assert shortened(name, 1000, 13) == name
