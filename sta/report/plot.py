"""Accuracy against cost, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from sta.evaluation import SummaryRow

from .atomic import replacing
from .columns import counted

# Okabe and Ito's palette, which colour-blind readers can tell apart; black is for no pruning, and
# its yellow is too pale for lines on white.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
BAND_ALPHA = 0.13  # eight of them one over the other still let the lines through
SIZE_INCHES = (7.2, 4.8)
DPI = 160
FONT = 11


def plot_accuracy_vs_gflops(
    rows: Sequence[SummaryRow], *, num_videos: int, title: str = '', note: str | None = None
) -> Figure:
    """Top-1 over GFLOPs per view: a line per pruner, and where the model stands without any.

    The band of a line is the 95 % interval of its change, paired over the videos: where it holds
    the dashed line, the change may be chance. Rows without one get no band.

    Args:
        rows: see :func:`sta.evaluation.shown_rows`.
        num_videos: videos behind each accuracy.
        title: above the plot.
        note: below it; default what the bands are.

    Raises:
        ValueError: no videos.
    """
    if num_videos < 1:
        raise ValueError(f'accuracy needs at least one video, got num_videos={num_videos}')
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    unpruned = [row for row in rows if not row.pruner]
    families = list(dict.fromkeys(row.pruner for row in rows if row.pruner))
    for i, family in enumerate(families):
        own = [row for row in rows if row.pruner == family]
        # The first families get the strongest colours; beyond the palette the markers differ.
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        _draw_family(axes, own, unpruned, family, colour, marker)
    _draw_unpruned(axes, unpruned)
    videos = counted(num_videos, 'video')
    bands = f'bands: 95 % interval of the change against no pruning, paired over {videos}'
    _dress(axes, bands if note is None else note, title)
    _label_schedules(axes, rows)
    return figure


def save_figure(figure: Figure, folder: Path, stem: str) -> tuple[Path, Path]:
    """Write ``stem``.png and ``stem``.svg; the same figure gives the same bytes.

    Returns:
        Paths of the PNG and of the SVG.
    """
    png, svg = Path(folder) / f'{stem}.png', Path(folder) / f'{stem}.svg'
    with replacing(png) as temporary:
        figure.savefig(temporary, format='png', metadata={'Software': None})
    nothing = {'Date': None, 'Creator': None}
    with replacing(svg) as temporary, matplotlib.rc_context({'svg.hashsalt': 'sta'}):
        figure.savefig(temporary, format='svg', metadata=nothing)
    return png, svg


def _draw_unpruned(axes: Axes, rows: Sequence[SummaryRow]) -> None:
    if not rows:
        return
    row = rows[0]
    axes.axhline(row.top1_percent, color='0.45', linestyle='--', linewidth=1.0, zorder=1)
    axes.plot(
        [row.gflops_per_view],
        [row.top1_percent],
        label='no pruning',
        color='black',
        marker='*',
        linestyle='none',
        markersize=13,
        markeredgecolor='white',
        zorder=4,
    )


def _draw_family(
    axes: Axes,
    rows: Sequence[SummaryRow],
    unpruned: Sequence[SummaryRow],
    label: str,
    colour: str,
    marker: str,
) -> None:
    rows = sorted(rows, key=lambda row: row.gflops_per_view)
    gflops = [row.gflops_per_view for row in rows]
    top1 = [row.top1_percent for row in rows]
    if unpruned and all(row.top1_change_low is not None for row in rows):
        low, high = np.array([[row.top1_change_low, row.top1_change_high] for row in rows]).T
        whole = unpruned[0].top1_percent
        band = dict(color=colour, linewidth=0, zorder=2)
        axes.fill_between(gflops, whole + low, whole + high, alpha=BAND_ALPHA, **band)
        if len(rows) == 1:  # a band of no width shows nothing
            axes.vlines(gflops, whole + low, whole + high, color=colour, alpha=0.4, linewidth=3)
    axes.plot(
        gflops,
        top1,
        label=label,
        color=colour,
        marker=marker,
        linestyle='-',
        markersize=7,
        markeredgecolor='white',
        linewidth=1.8,
        zorder=3,
    )


def _dress(axes: Axes, note: str, title: str) -> None:
    axes.set_xlabel('GFLOPs per view (1e9 multiply-accumulates)', fontsize=FONT + 1)
    axes.set_ylabel('top-1 accuracy (%)', fontsize=FONT + 1)
    axes.figure.supxlabel(note, fontsize=FONT - 2, color='0.35')
    if title:
        axes.set_title(title, fontsize=FONT + 2)
    axes.tick_params(labelsize=FONT)
    axes.margins(x=0.06, y=0.12)
    axes.grid(color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    columns = 1 if len(axes.get_legend_handles_labels()[0]) <= 5 else 2
    axes.legend(
        loc='lower right', fontsize=FONT - 1, framealpha=0.9, edgecolor='0.9', ncols=columns
    )


def _label_schedules(axes: Axes, rows: Sequence[SummaryRow]) -> None:
    """Name each schedule once, above its highest point, and leave out what would overlap."""
    highest: dict[str, SummaryRow] = {}
    for row in rows:
        name = row.label
        if name and (name not in highest or row.top1_percent > highest[name].top1_percent):
            highest[name] = row
    labels: list[Text] = []
    axes.figure.draw_without_rendering()  # else the axes' limits and size are not known yet
    for name, row in highest.items():
        label = axes.annotate(
            name,
            (row.gflops_per_view, row.top1_percent),
            xytext=(0, 6),
            textcoords='offset points',
            ha='center',
            fontsize=FONT - 2,
            color='0.35',
            bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.8, 'pad': 0.5},
        )
        box = label.get_window_extent()
        if any(box.overlaps(other.get_window_extent()) for other in labels):
            label.remove()
        else:
            labels.append(label)
