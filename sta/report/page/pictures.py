"""Pictures inside the page: plots as SVG, and PNG files as data."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sta.evaluation import SummaryRow

from ..plot import COLOURS, DPI, FONT, MARKERS, SIZE_INCHES


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


def plot_accuracy_vs_throughput(rows: Sequence[SummaryRow], *, hardware: str) -> Figure:
    """Top-1 over views per second of the model alone: a line per pruner, a star for no pruning.

    Args:
        rows: see :func:`sta.evaluation.summarise`.
        hardware: on which the speeds were measured.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    families = list(dict.fromkeys(row.pruner for row in rows))
    numbers = {family: i for i, family in enumerate(filter(None, families))}
    for family in families:
        own = sorted((row for row in rows if row.pruner == family), key=lambda r: r.clips_per_s)
        number = numbers.get(family, 0)
        axes.plot(
            [row.clips_per_s for row in own],
            [row.top1_percent for row in own],
            label=family or 'no pruning',
            color=COLOURS[number % len(COLOURS)] if family else 'black',
            marker=MARKERS[number % len(MARKERS)] if family else '*',
            linestyle='-' if family else 'none',
            markersize=7 if family else 13,
            markeredgecolor='white',
            linewidth=1.8,
        )
    axes.set_xlabel(f'views per second ({hardware})', fontsize=FONT + 1)
    axes.set_ylabel('top-1 accuracy (%)', fontsize=FONT + 1)
    axes.tick_params(labelsize=FONT)
    axes.margins(x=0.06, y=0.12)
    axes.grid(color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(loc='best', fontsize=FONT, framealpha=0.9, edgecolor='0.9')
    return figure
