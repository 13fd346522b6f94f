"""Pictures inside the page: plots as SVG, and PNG files as data."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure


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
        figure.savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None})
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :]
    # Several figures in one page: names of clips and glyphs must not meet.
    mark = re.sub(r'\W', '', description)[:24]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf'\1#{mark}-', svg)
    label = f'<svg role="img" aria-label="{description}" style="width:100%;height:auto"'
    return svg.replace('<svg', label, 1)


def inline_png(path: Path, description: str) -> str:
    """A PNG file as an image element."""
    data = base64.b64encode(path.read_bytes()).decode('ascii')
    return f'<img alt="{description}" src="data:image/png;base64,{data}">'
