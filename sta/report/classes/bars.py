"""Changes per class and new confusions as bars."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sta.evaluation import SIGNIFICANT, ClassChange, ClassComparison, Confusion

from ..columns import counted, fixed
from ..plot import COLOURS, FONT
from .ends import both_ends
from .named_rows import dress, rows_figure, wrapped
from .tables import grown_confusions

ROSE, FELL = COLOURS[0], COLOURS[1]
BEFORE, AFTER = '0.65', COLOURS[1]
PALE = 0.35  # opacity of what may be chance
BAR_INCHES = 0.19
MOST_ROWS = 50  # of either end; a longer picture is no picture any more
LEGEND_CHARACTERS = 50
ARROW = '\N{RIGHTWARDS ARROW}'


def plot_class_changes(comparison: ClassComparison, *, top: int = 15) -> Figure:
    """Change in top-1 of the classes that fell and rose most, the worst first.

    Args:
        comparison: of two variants.
        top: classes from either end; at most 50 are drawn.
    """
    ends = both_ends(comparison, min(top, MOST_ROWS))
    shown: list[ClassChange | None] = list(ends.worst)
    if ends.hidden:
        shown += [None, *ends.best]
    between = f'({counted(ends.hidden, "class", "classes")} between)'
    names = [wrapped(change.name) if change else between for change in shown]
    figure, axes, centres = rows_figure(names)
    for y, change in zip(centres, shown, strict=True):
        if change:
            _draw_change(axes, y, change)
    axes.axvline(0, color='0.3', linewidth=1.0)
    axes.set_xlim(*_limits([change.change_points for change in shown if change]))
    axes.set_xlabel('change in top-1 (points)', fontsize=FONT)
    _note(axes, 0.0, 'lost, gained\nof videos', va='bottom')
    sure = f'adjusted p below {SIGNIFICANT}'
    legend = [
        Patch(facecolor=FELL, label=f'fell, {sure}'),
        Patch(facecolor=ROSE, label=f'rose, {sure}'),
        Patch(facecolor='0.3', alpha=PALE, label='pale: may be chance'),
    ]
    dress(figure, title=f'{comparison.before} {ARROW} {comparison.after}', legend=legend)
    return figure


def plot_grown_confusions(comparison: ClassComparison, *, top: int = 15) -> Figure:
    """The mistakes that became more frequent, before and after.

    Args:
        comparison: of two variants.
        top: how many; at most 50 are drawn.
    """
    grown = grown_confusions(comparison, min(top, MOST_ROWS))
    classes = [wrapped(name) for name in comparison.class_names]
    names = [f'{classes[c.true]}\n{ARROW} {classes[c.predicted]}' for c in grown]
    figure, axes, centres = rows_figure(names or ['no confusion grew'])
    for y, confusion in zip(centres, grown, strict=False):
        _draw_confusion(axes, y, confusion)
    axes.set_xlim(0, 1.1 * max((c.after for c in grown), default=1))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel('videos of the first class taken for the second', fontsize=FONT)
    legend = [
        Patch(facecolor=BEFORE, label=wrapped(comparison.before, LEGEND_CHARACTERS)),
        Patch(facecolor=AFTER, label=wrapped(comparison.after, LEGEND_CHARACTERS)),
    ]
    dress(figure, title='Confusions that grew most', legend=legend)
    return figure


def _limits(points: list[float]) -> tuple[float, float]:
    """Of the axis: with zero, and with room for the figures at the ends of the bars."""
    low, high = min(0.0, *points), max(0.0, *points)
    room = 0.14 * (high - low) or 1.0
    return low - room, high + room


def _draw_change(axes: Axes, y: float, change: ClassChange) -> None:
    points = change.change_points
    colour = FELL if points < 0 else ROSE
    alpha = 1.0 if change.is_significant else PALE
    axes.barh(y, points, height=BAR_INCHES, color=colour, alpha=alpha)
    _end(axes, y, points, *fixed([points], 1, '+'))
    _note(axes, y, f'{change.lost}, {change.gained} of {change.videos}', va='center')


def _draw_confusion(axes: Axes, y: float, confusion: Confusion) -> None:
    thickness = 0.7 * BAR_INCHES
    for shift, count, colour in ((-0.5, confusion.before, BEFORE), (0.5, confusion.after, AFTER)):
        place = y + shift * thickness
        axes.barh(place, count, height=thickness, color=colour)
        _end(axes, place, count, str(count))


def _end(axes: Axes, y: float, x: float, text: str) -> None:
    """A figure at the outer end of a bar."""
    side = -1 if x < 0 else 1
    axes.annotate(
        text,
        (x, y),
        xytext=(3 * side, 0),
        textcoords='offset points',
        ha='right' if side < 0 else 'left',
        va='center',
        fontsize=FONT - 2,
        color='0.25',
    )


def _note(axes: Axes, y: float, text: str, *, va: str) -> None:
    """Grey text to the right of the axes."""
    place = (1.01, y)
    coordinates = ('axes fraction', 'data')
    axes.annotate(
        text, place, xycoords=coordinates, va=va, fontsize=FONT - 2, color='0.35', clip_on=False
    )
