"""Accuracy curves with their bands: what every plot of top-1 over something shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text

from sta.evaluation import FEWEST_VIDEOS, SummaryRow

from .columns import counted, not_finite_note
from .styles import FONT, Style, family_styles, wrapped_label

# Of a band: so pale that a dozen over each other let the lines through.
FEW_ALPHA, MANY_ALPHA, FEW = 0.15, 0.09, 4
SPREAD_ALPHA = 0.3
MOST_LABELS = 12  # names of schedules; where every family has its own they would fill the plot

Place = Callable[[SummaryRow], float]


def draw_families(axes: Axes, rows: Sequence[SummaryRow], place: Place) -> None:
    """A line per pruner with its band, and where the model stands without any.

    The band is the 95 % interval of the change, paired over the videos: where it holds the dashed
    line, the change may be chance. Where a row is a mean over seeds, a darker band about the line
    is the standard deviation of the draws. Points are joined in the order of their GFLOPs; a family
    of one point, or whose places turn back, has bars in place of bands.

    Args:
        axes: to draw on.
        rows: see :func:`sta.evaluation.shown_rows`.
        place: where a row stands on the horizontal axis.
    """
    unpruned = next((row for row in rows if not row.pruner), None)
    styles = family_styles(row.pruner for row in rows if row.pruner)
    alpha = FEW_ALPHA if len(styles) <= FEW else MANY_ALPHA
    for family, style in styles.items():
        own = sorted(
            (row for row in rows if row.pruner == family), key=lambda row: row.gflops_per_view
        )
        if unpruned is not None:
            _interval_band(axes, own, unpruned, place, style, alpha)
        _spread_band(axes, own, place, style)
        axes.plot(
            [place(row) for row in own],
            [row.top1_percent for row in own],
            label=wrapped_label(family),
            color=style.colour,
            marker=style.marker,
            linestyle=style.line,
            markersize=7,
            markeredgecolor='white',
            linewidth=1.8,
            zorder=3,
        )
    if unpruned is not None:
        _draw_unpruned(axes, unpruned, place)


def bands_note(rows: Sequence[SummaryRow], num_videos: int) -> str:
    """What the bands of :func:`draw_families` mean, a line each."""
    videos = counted(num_videos, 'video')
    note = f'bands: 95 % interval of the change against no pruning, paired over {videos}'
    if not any(row.pruner and row.top1_change_low is not None for row in rows):
        note = f'top-1 over {videos}'
        if num_videos < FEWEST_VIDEOS:
            note += ', too few for an interval'
    if failed := not_finite_note(rows):
        note += f'\n{failed.strip()}'
    if any(row.top1_spread is not None for row in rows):
        note += '\ndarker bands: standard deviation over the seeds about their mean'
    return note


def dress(axes: Axes, horizontal: str, title: str) -> None:
    """Axes with their units, a quiet grid, and a title where there is one."""
    axes.set_xlabel(horizontal, fontsize=FONT + 1)
    axes.set_ylabel('top-1 accuracy (%)', fontsize=FONT + 1)
    if title:
        axes.set_title(title, fontsize=FONT + 2)
    axes.tick_params(labelsize=FONT)
    axes.margins(x=0.06, y=0.12)
    axes.grid(color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def label_schedules(axes: Axes, rows: Sequence[SummaryRow], place: Place) -> None:
    """Name each schedule once, above its highest point, and leave out what would overlap."""
    highest: dict[str, SummaryRow] = {}
    for row in rows:
        name = row.label
        if name and (name not in highest or row.top1_percent > highest[name].top1_percent):
            highest[name] = row
    labels: list[Text] = []
    axes.figure.get_layout_engine().execute(axes.figure)  # else the axes' size is not known yet
    for name, row in highest.items():
        label = axes.annotate(
            name,
            (place(row), row.top1_percent),
            xytext=(0, 6),
            textcoords='offset points',
            ha='center',
            fontsize=FONT - 2,
            color='0.35',
            bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.8, 'pad': 0.5},
        )
        box = label.get_window_extent()
        others = (other.get_window_extent() for other in labels)
        if len(labels) == MOST_LABELS or any(box.overlaps(other) for other in others):
            label.remove()
        else:
            labels.append(label)


def _interval_band(
    axes: Axes,
    rows: Sequence[SummaryRow],
    unpruned: SummaryRow,
    place: Place,
    style: Style,
    alpha: float,
) -> None:
    if any(row.top1_change_low is None for row in rows):
        return
    ends = np.array([[row.top1_change_low, row.top1_change_high] for row in rows]).T
    low, high = unpruned.top1_percent + ends
    _band(axes, [place(row) for row in rows], low, high, style, alpha, width=3.0)


def _spread_band(axes: Axes, rows: Sequence[SummaryRow], place: Place, style: Style) -> None:
    """Where each draw lies: one standard deviation over the seeds to either side."""
    rows = [row for row in rows if row.top1_spread is not None]
    if not rows:
        return
    mean = np.array([row.top1_percent for row in rows])
    spread = np.array([row.top1_spread for row in rows])
    places = [place(row) for row in rows]
    _band(axes, places, mean - spread, mean + spread, style, SPREAD_ALPHA, width=6.0)


def _band(
    axes: Axes,
    places: Sequence[float],
    low: np.ndarray,
    high: np.ndarray,
    style: Style,
    alpha: float,
    width: float,
) -> None:
    steps = np.diff(places)
    if not (len(steps) and (np.all(steps > 0) or np.all(steps < 0))):
        # A band needs some width; one that turns back, as where speeds are noisy, is no band.
        opaque = min(1.0, 2.5 * alpha)
        axes.vlines(places, low, high, color=style.colour, alpha=opaque, linewidth=width, zorder=2)
        return
    axes.fill_between(places, low, high, color=style.colour, linewidth=0, alpha=alpha, zorder=2)


def _draw_unpruned(axes: Axes, row: SummaryRow, place: Place) -> None:
    axes.axhline(row.top1_percent, color='0.45', linestyle='--', linewidth=1.0, zorder=1)
    axes.plot(
        [place(row)],
        [row.top1_percent],
        label='no pruning',
        color='black',
        marker='*',
        linestyle='none',
        markersize=13,
        markeredgecolor='white',
        zorder=4,
    )
