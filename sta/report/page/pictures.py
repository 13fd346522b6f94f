"""Pictures inside the page: plots as SVG, and PNG files as data."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

from ..fonts import draw

WHERE_NUMBERS = 'its numbers stand in the tables of this page'
DARK_TEXT, DARK_GROUND = (230, 237, 243), (13, 17, 23)  # as in template.html


class Picture(NamedTuple):
    """A picture with what is said for those who do not see it.

    Attributes:
        markup: HTML, safe to insert.
        caption: below it.
    """

    markup: str
    caption: str


def inline_svg(figure: Figure, description: str) -> str:
    """A figure as an SVG element that scales with the page; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': 'sta', 'svg.fonttype': 'path'}):
        draw(figure, buffer, format='svg', metadata={'Date': None, 'Creator': None})
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :]
    # Several figures in one page: names of clips and glyphs must not meet.
    mark = re.sub(r'\W', '', description)[:24]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf'\1#{mark}-', svg)
    svg = _themed(svg)
    # Black is what a shape is filled with where matplotlib says nothing.
    style = 'width:100%;height:auto;fill:var(--grey-00, #000000)'
    label = f'<svg role="img" aria-label="{description}; {WHERE_NUMBERS}" style="{style}"'
    return svg.replace('<svg', label, 1)


def _themed(svg: str) -> str:
    """Greys as variables of the page, which turns them over where the reader prefers it dark."""
    return re.sub(r'#([0-9a-f]{2})\1\1\b', r'var(--grey-\1, #\1\1\1)', svg)


def grey_variables(markup: str) -> str:
    """Declarations for a dark page of all greys that themed pictures use: white becomes its ground.

    The lightness is turned over between the page's dark ground and its text.
    """
    names = sorted(set(re.findall(r'var\(--grey-([0-9a-f]{2})', markup)))
    return ' '.join(f'--grey-{name}: {_dark(int(name, 16))};' for name in names)


def _dark(grey: int) -> str:
    share = grey / 255
    ends = zip(DARK_TEXT, DARK_GROUND, strict=True)
    return '#' + ''.join(f'{round(text + share * (ground - text)):02x}' for text, ground in ends)


def inline_png(path: Path, description: str) -> str:
    """A PNG file as an image element."""
    data = base64.b64encode(path.read_bytes()).decode('ascii')
    return f'<img alt="{description}" src="data:image/png;base64,{data}">'
