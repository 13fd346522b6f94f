"""How plots tell families of pruners apart: by colour, marker and line, never by colour alone."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

# Okabe and Ito's palette, which colour-blind readers can tell apart; black is for no pruning, and
# its yellow is too pale for lines on white.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
# 11 has no factor in common with 6: markers and colours come together anew only after 66 families.
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', 'p', '>', 'h')
LINES = ('-', '--', '-.', ':')
SIZE_INCHES = (7.2, 4.8)
DPI = 160
FONT = 11
LEGEND_CHARACTERS = 60
MOST_LEGEND_COLUMNS = 4


class Style(NamedTuple):
    """How a family looks.

    Attributes:
        colour: of line, marker and band.
        marker: of its points.
        line: matplotlib's name of the dashes; a new one with every round of the palette.
    """

    colour: str
    marker: str
    line: str


def family_styles(families: Iterable[str]) -> dict[str, Style]:
    """A style for each family in their order; the first ones get the strongest colours.

    Two plots of the same families give each the same style.
    """
    return {
        family: Style(
            COLOURS[i % len(COLOURS)],
            MARKERS[i % len(MARKERS)],
            LINES[i // len(COLOURS) % len(LINES)],
        )
        for i, family in enumerate(dict.fromkeys(families))
    }


def wrapped_label(name: str) -> str:
    """A name on as many lines as it takes not to be cropped, broken behind commas."""
    lines = ['']
    for part in re.findall(r'[^,\s]*[,\s]?', name):
        if len(lines[-1]) + len(part) > LEGEND_CHARACTERS and lines[-1].strip():
            lines.append('  ')
        lines[-1] += part
    whole = [piece for line in lines for piece in textwrap.wrap(line, LEGEND_CHARACTERS)]
    return '\n'.join(whole) or name


def legend_below(figure: Figure, axes: Axes, *, note: str) -> Legend | None:
    """A legend below the axes, in as many columns as the figure's width holds.

    The figure grows by the legend's height, so that the plot itself keeps its size however many
    entries there are, and none of them covers a point.

    Args:
        figure: with a constrained layout and an Agg canvas.
        axes: whose labelled lines are listed, no pruning first.
        note: a line above the entries.

    Returns:
        The legend; None where nothing is drawn.
    """
    legend, renderer = None, figure.canvas.get_renderer()
    handles, labels = _no_pruning_first(*axes.get_legend_handles_labels())
    for columns in range(min(MOST_LEGEND_COLUMNS, len(handles)), 0, -1):
        legend = figure.legend(
            handles,
            labels,
            loc='outside lower center',
            ncols=columns,
            fontsize=FONT - 1,
            frameon=False,
            title=note,
            title_fontsize=FONT - 2,
            handlelength=3.2,  # else dashes and dots look alike
            columnspacing=1.4,
        )
        legend.get_title().set_color('0.35')
        box = legend.get_window_extent(renderer).transformed(figure.dpi_scale_trans.inverted())
        if box.width <= figure.get_figwidth() or columns == 1:
            break
        legend.remove()
    if legend is not None:
        figure.set_figheight(SIZE_INCHES[1] + max(0.0, box.height - 0.4))
    return legend


def _no_pruning_first(handles: Sequence, labels: Sequence[str]) -> tuple[list, list[str]]:
    pairs = sorted(zip(handles, labels, strict=True), key=lambda pair: pair[1] != 'no pruning')
    return [handle for handle, _ in pairs], [label for _, label in pairs]
