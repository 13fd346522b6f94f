"""A figure whose rows carry names of any length: wrapped, and every row as high as its name."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..plot import DPI, FONT

WIDTH_INCHES = 9.0
NAME_CHARACTERS = 44  # the longest name of Something-Something V2, 98 characters, takes three lines
TITLE_CHARACTERS = 80
LINE_INCHES = 0.17  # of a name at its size
TITLE_LINE_INCHES = 0.21
GAP_INCHES = 0.13  # between two names
FRAME_INCHES = 1.35  # title, axis and legend


def wrapped(name: str, characters: int = NAME_CHARACTERS) -> str:
    """A name on lines of at most so many characters, safe from being read as a formula."""
    return textwrap.fill(name, characters, break_on_hyphens=False).replace('$', r'\$')


def rows_figure(names: Sequence[str]) -> tuple[Figure, Axes, np.ndarray]:
    """An empty figure with a row for each name, from top to bottom.

    Args:
        names: wrapped already.

    Returns:
        The figure, its axes, whose y runs downwards in inches, and the (rows,) centres of the rows.
    """
    heights = np.array([LINE_INCHES * (1 + name.count('\n')) + GAP_INCHES for name in names])
    ends = heights.cumsum()
    size = (WIDTH_INCHES, ends[-1] + FRAME_INCHES)
    figure = Figure(figsize=size, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_ylim(ends[-1], 0.0)
    centres = ends - heights / 2
    axes.set_yticks(centres, names, fontsize=FONT - 1, linespacing=1.05)
    axes.tick_params(axis='y', length=0)
    axes.tick_params(axis='x', labelsize=FONT - 1)
    axes.grid(axis='x', color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    return figure, axes, centres


def dress(figure: Figure, *, title: str, legend: Sequence[Patch]) -> None:
    """Put a title above and a legend below.

    Args:
        figure: of this module.
        title: wrapped when long.
        legend: what colours mean.
    """
    lines = wrapped(title, TITLE_CHARACTERS)
    figure.suptitle(lines, fontsize=FONT + 1)
    notes = max(str(patch.get_label()).count('\n') for patch in legend)
    width, height = figure.get_size_inches()
    # else long names of variants would take the room of the rows
    figure.set_size_inches(width, height + TITLE_LINE_INCHES * (lines.count('\n') + notes))
    figure.legend(
        handles=legend,
        loc='outside lower center',
        ncols=len(legend),
        fontsize=FONT - 1,
        frameon=False,
    )
