"""Accuracy against cost and against speed, as pictures."""

from __future__ import annotations

import functools
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager, get_font
from matplotlib.legend import Legend
from matplotlib.text import Text

from sta.atomic import replacing
from sta.evaluation import FEWEST_VIDEOS, SummaryRow

from .table import counted, not_finite_note

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
LACKING = re.compile(r'Glyph (\d+) ')
# Of a band: so pale that a dozen over each other let the lines through.
FEW_ALPHA, MANY_ALPHA, FEW = 0.15, 0.09, 4
SPREAD_ALPHA = 0.3
MOST_LABELS = 12  # names of schedules; where every family has its own they would fill the plot

Place = Callable[[SummaryRow], float]


def plot_accuracy_vs_gflops(
    rows: Sequence[SummaryRow], *, num_videos: int, title: str = '', note: str | None = None
) -> Figure:
    """Top-1 over GFLOPs per view, see :func:`sta.report.plots.draw_families`.

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
    label_schedules(figure, axes, rows, place)
    return figure


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
    legend = None
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
        box = legend.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        if box.width <= figure.get_figwidth() or columns == 1:
            break
        legend.remove()
    if legend is not None:
        figure.set_figheight(SIZE_INCHES[1] + max(0.0, box.height - 0.4))
    return legend


def _no_pruning_first(handles: Sequence[Any], labels: Sequence[str]) -> tuple[list[Any], list[str]]:
    pairs = sorted(zip(handles, labels, strict=True), key=lambda pair: pair[1] != 'no pruning')
    return [handle for handle, _ in pairs], [label for _, label in pairs]


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


def label_schedules(figure: Figure, axes: Axes, rows: Sequence[SummaryRow], place: Place) -> None:
    """Name each schedule once, above its highest point, and leave out what would overlap."""
    highest: dict[str, SummaryRow] = {}
    for row in rows:
        name = row.label
        if name and (name not in highest or row.top1_percent > highest[name].top1_percent):
            highest[name] = row
    labels: list[Text] = []
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # else the axes' size is not known yet
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


def draw(figure: Figure, target: Any, *, format: str, metadata: dict[str, Any]) -> None:
    """``figure.savefig``, with installed fonts for letters that the figure's own font lacks.

    Letters that no installed font has are drawn as boxes and said once on stderr.

    Args:
        figure: drawn a second time, with other fonts, where letters are lacking.
        target: a path, or a file that can be written anew from its start.
        format: 'png' or 'svg'.
        metadata: of the file, see ``savefig``.
    """
    lacking = _save(figure, target, format, metadata)
    families = [] if not lacking else list(_families(lacking))
    if families:
        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *families])
        if hasattr(target, 'truncate'):
            target.seek(0)
            target.truncate()
        lacking = _save(figure, target, format, metadata)
    if lacking:
        _say_once(''.join(sorted(map(chr, lacking))))


def _save(figure: Figure, target: Any, format: str, metadata: dict[str, Any]) -> set[int]:
    """Code points that were drawn as boxes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        figure.savefig(target, format=format, metadata=metadata)
    lacking = set()
    for warning in caught:
        if found := LACKING.match(str(warning.message)):
            lacking.add(int(found[1]))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return lacking


def _families(lacking: set[int]) -> Iterator[str]:
    """Installed fonts that have the letters between them, those with most of them first."""
    letters = {entry.name: _letters(entry) & lacking for entry in _installed()}
    left = set(lacking)
    while left and letters:
        best = max(sorted(letters), key=lambda name: len(letters[name] & left))
        if not letters[best] & left:
            return
        left -= letters.pop(best)
        yield best


def _installed() -> Iterator[FontEntry]:
    """Upright fonts of usual weight; matplotlib's own have symbols in the places of letters."""
    own = Path(matplotlib.get_data_path())
    for entry in fontManager.ttflist:
        usual = entry.style == 'normal' and entry.weight in (400, 'normal', 'regular', 'book')
        if usual and own not in Path(entry.fname).parents:
            yield entry


def _letters(entry: FontEntry) -> set[int]:
    try:
        return set(get_font(entry.fname).get_charmap())
    except (OSError, RuntimeError):  # gone since matplotlib listed it, or none that it can read
        return set()


@functools.cache
def _say_once(letters: str) -> None:
    letters = letters.encode('utf-8', 'backslashreplace').decode()
    print(
        f'note: no installed font has {letters}, which plots show as boxes; tables name them. '
        'A font for them (Debian, Ubuntu: fonts-noto-cjk for Chinese, Japanese and Korean) mends '
        'it',
        file=sys.stderr,
    )
