"""Accuracy against cost and against speed, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sta.atomic import replacing
from sta.evaluation import SummaryRow

from .curves import Place, bands_note, draw_families, dress, label_schedules
from .fonts import draw
from .styles import COLOURS, DPI, FONT, SIZE_INCHES, legend_below

__all__ = [
    'COLOURS',
    'DPI',
    'FONT',
    'SIZE_INCHES',
    'plot_accuracy_vs_gflops',
    'plot_accuracy_vs_throughput',
    'save_figure',
]


def plot_accuracy_vs_gflops(
    rows: Sequence[SummaryRow], *, num_videos: int, title: str = '', note: str | None = None
) -> Figure:
    """Top-1 over GFLOPs per view, see :func:`sta.report.curves.draw_families`.

    Args:
        rows: see :func:`sta.evaluation.shown_rows`.
        num_videos: videos behind each accuracy.
        title: above the plot.
        note: below it; default what the bands are.

    Raises:
        ValueError: no videos.
    """
    words = 'GFLOPs per view (1e9 multiply-accumulates)'
    return _plot(rows, num_videos, lambda row: row.gflops_per_view, words, title, note)


def plot_accuracy_vs_throughput(
    rows: Sequence[SummaryRow], *, num_videos: int, hardware: str, title: str = ''
) -> Figure:
    """Top-1 over views per second of the model alone; every family looks as over GFLOPs.

    Rows whose speed is unknown are left out.

    Args:
        rows: see :func:`sta.evaluation.shown_rows`.
        num_videos: videos behind each accuracy.
        hardware: on which the speeds were measured.
        title: above the plot.

    Raises:
        ValueError: no videos.
    """
    words = f'views per second of the model alone ({hardware})'
    rows = [row for row in rows if 0 < row.clips_per_s < inf]  # nothing was timed: no place
    return _plot(rows, num_videos, lambda row: row.clips_per_s, words, title)


def save_figure(figure: Figure, folder: Path, stem: str) -> tuple[Path, Path]:
    """Write ``stem``.png and ``stem``.svg; the same figure gives the same bytes.

    Returns:
        Paths of the PNG and of the SVG.
    """
    png, svg = Path(folder) / f'{stem}.png', Path(folder) / f'{stem}.svg'
    with replacing(png) as temporary:
        draw(figure, temporary, format='png', metadata={'Software': None})
    nothing = {'Date': None, 'Creator': None}
    with replacing(svg) as temporary, matplotlib.rc_context({'svg.hashsalt': 'sta'}):
        draw(figure, temporary, format='svg', metadata=nothing)
    return png, svg


def _plot(
    rows: Sequence[SummaryRow],
    num_videos: int,
    place: Place,
    words: str,
    title: str,
    note: str | None = None,
) -> Figure:
    if num_videos < 1:
        raise ValueError(f'accuracy needs at least one video, got num_videos={num_videos}')
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_families(axes, rows, place)
    dress(axes, words, title)
    legend_below(figure, axes, note=bands_note(rows, num_videos) if note is None else note)
    label_schedules(axes, rows, place)
    return figure
