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
SIZE_INCHES = (7.2, 4.6)
DPI = 160
FONT = 11


def plot_accuracy_vs_gflops(
    rows: Sequence[SummaryRow], *, num_videos: int, title: str = ''
) -> Figure:
    """Top-1 over GFLOPs per view: a line per pruner, and where the model stands without any.

    Bars are one binomial standard error, sqrt(p (1 - p) / num_videos): the chance in which videos
    were drawn. Pruners share the videos, so their differences are surer than the bars suggest.

    Args:
        rows: see :func:`sta.evaluation.summarise`.
        num_videos: videos behind each accuracy.
        title: above the plot.

    Raises:
        ValueError: no videos.
    """
    if num_videos < 1:
        raise ValueError(f'accuracy needs at least one video, got num_videos={num_videos}')
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_unpruned(axes, [row for row in rows if not row.pruner], num_videos)
    families = list(dict.fromkeys(row.pruner for row in rows if row.pruner))
    for i, family in enumerate(families):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        own = [row for row in rows if row.pruner == family]
        _draw_points(axes, own, num_videos, family, colour, marker)
    _dress(axes, num_videos, title)
    _label_schedules(axes, rows, num_videos)
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


def standard_error(percent: np.ndarray, num_videos: int) -> np.ndarray:
    """Binomial standard error of accuracies, all in per cent."""
    share = np.asarray(percent, dtype=float) / 100.0
    return 100.0 * np.sqrt(share * (1.0 - share) / num_videos)


def _draw_unpruned(axes: Axes, rows: Sequence[SummaryRow], num_videos: int) -> None:
    if not rows:
        return
    axes.axhline(rows[0].top1_percent, color='0.45', linestyle='--', linewidth=1.0, zorder=1)
    _draw_points(axes, rows, num_videos, 'no pruning', 'black', '*', joined=False)


def _draw_points(
    axes: Axes,
    rows: Sequence[SummaryRow],
    num_videos: int,
    label: str,
    colour: str,
    marker: str,
    *,
    joined: bool = True,
) -> None:
    rows = sorted(rows, key=lambda row: row.gflops_per_view)
    gflops = [row.gflops_per_view for row in rows]
    top1 = np.array([row.top1_percent for row in rows])
    error = standard_error(top1, num_videos)
    axes.vlines(gflops, top1 - error, top1 + error, color=colour, alpha=0.3, linewidth=2, zorder=2)
    axes.plot(
        gflops,
        top1,
        label=label,
        color=colour,
        marker=marker,
        linestyle='-' if joined else 'none',
        markersize=7 if joined else 13,
        markeredgecolor='white',
        linewidth=1.8,
        zorder=3,
    )


def _dress(axes: Axes, num_videos: int, title: str) -> None:
    videos = counted(num_videos, 'video')
    note = f'labels: schedule; bars: one binomial standard error, n = {videos}'
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
    axes.legend(loc='lower right', fontsize=FONT, framealpha=0.9, edgecolor='0.9')


def _label_schedules(axes: Axes, rows: Sequence[SummaryRow], num_videos: int) -> None:
    """Name each schedule once, above its highest point, and leave out what would overlap."""
    highest: dict[str, SummaryRow] = {}
    for row in rows:
        name = row.name.removeprefix(f'{row.pruner}-') if row.pruner else ''
        if name and (name not in highest or row.top1_percent > highest[name].top1_percent):
            highest[name] = row
    labels: list[Text] = []
    axes.figure.draw_without_rendering()  # else the axes' limits and size are not known yet
    for name, row in highest.items():
        top = row.top1_percent + float(standard_error(row.top1_percent, num_videos))
        label = axes.annotate(
            name,
            (row.gflops_per_view, top),
            xytext=(0, 3),
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
