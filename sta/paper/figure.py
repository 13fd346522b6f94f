"""Figure 5 as a picture: speed against accuracy, the paper's points and ours."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sta.report.plots import COLOURS, DPI, FONT, MARKERS, SIZE_INCHES, legend_below

from .results import FilledTable

# Places of the columns of fig5.
SPEED, METHODS = 1, {'STA': 2, 'random': 3}


def plot_fig5(table: FilledTable) -> Figure:
    """Top-1 over clips/s: a line per method, published dashed and ours solid, as far as known.

    Published points are hollow, and each method has a marker of its own.

    Random pruning is drawn at STA's clips/s, since the paper's plot gives no speeds of its own.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    own = 'SMOKE' if table.is_smoke else 'ours'
    for colour, marker, (method, place) in zip(COLOURS, MARKERS, METHODS.items()):
        published, ours = points(table, place)
        _draw(axes, published, f'{method}, paper (V100)', colour, '--', marker)
        _draw(axes, ours, f'{method}, {own}', colour, '-', marker)
    axes.set_xlabel('clips/s', fontsize=FONT + 1)
    axes.set_ylabel('top-1 accuracy (%)', fontsize=FONT + 1)
    axes.set_title(table.table.title, fontsize=FONT + 1)
    axes.grid(color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    if axes.lines:
        legend_below(figure, axes, note='')
    else:
        axes.text(0.5, 0.5, 'nothing measured yet', transform=axes.transAxes, ha='center')
    return figure


def points(
    table: FilledTable, place: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(clips/s, top-1 %) of a method, published and ours, where both numbers are known."""
    published, ours = [], []
    for row in table.cells:
        speed, top1 = row[SPEED], row[place]
        if speed.cell.published is not None and top1.cell.published is not None:
            published.append((speed.cell.published, top1.cell.published))
        if speed.ours is not None and top1.ours is not None:
            ours.append((speed.ours, top1.ours))
    return published, ours


def _draw(
    axes: Axes,
    found: Sequence[tuple[float, float]],
    label: str,
    colour: str,
    line: str,
    marker: str,
) -> None:
    if found:
        speeds, top1 = zip(*sorted(found))
        inside = 'white' if line == '--' else colour
        axes.plot(
            speeds,
            top1,
            label=label,
            color=colour,
            linestyle=line,
            marker=marker,
            markerfacecolor=inside,
        )
