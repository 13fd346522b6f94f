"""Two confusion matrices side by side, for as many classes as a matrix can show."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from sta.evaluation import ClassComparison

from ..columns import fixed
from ..plot import DPI, FONT
from .bars import plot_grown_confusions
from .named_rows import TITLE_LINE_INCHES, wrapped

MOST_CLASSES = 20
SHORT = 28  # characters of a name that can stand upright below a column
NAME_CHARACTERS = 36
CELL_INCHES = 0.4
TALL_CELL_INCHES = 0.56  # room for a name of three lines beside it
FEWEST_CELLS = 6  # what the title needs in width, the scale of colours in height
CHARACTER_INCHES = 0.085  # of a name at its size
FRAME_INCHES = 2.0, 1.0  # beside the matrices, with the scale of colours; below and above them


def plot_confusions(comparison: ClassComparison, *, top: int = 15) -> Figure:
    """Both confusion matrices where there are at most 20 classes, else the mistakes that grew most.

    Args:
        comparison: of two variants.
        top: mistakes, where there are more classes.
    """
    if len(comparison.changes) > MOST_CLASSES:
        return plot_grown_confusions(comparison, top=top)
    return plot_matrices(comparison)


def plot_matrices(comparison: ClassComparison) -> Figure:
    """Confusion matrices of both variants: videos as figures, share of the true class as colour."""
    classes, total = comparison.class_names, comparison.total
    is_short = max(map(len, classes)) <= SHORT
    first = _title(comparison.before, total.before_percent)
    second = _title(comparison.after, total.after_percent)
    width, height = _size(classes, is_short=is_short)
    height += TITLE_LINE_INCHES * max(first.count('\n'), second.count('\n'))
    figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, comparison.matrix_before, first)
    image = _draw(right, comparison.matrix_after, second)
    _name(left, right, classes, is_short=is_short)
    bar = figure.colorbar(image, ax=[left, right], shrink=0.7, pad=0.02)
    bar.set_label('% of the true class', fontsize=FONT - 1)
    return figure


def _size(classes: tuple[str, ...], *, is_short: bool) -> tuple[float, float]:
    """Inches in which cells come out about square, or as high as the names beside them."""
    cells = max(len(classes), FEWEST_CELLS)
    names = CHARACTER_INCHES * min(max(map(len, classes)), NAME_CHARACTERS)
    width, height = FRAME_INCHES
    width += 2 * CELL_INCHES * cells + names
    if is_short:
        return width, height + CELL_INCHES * cells + names
    return width, height + TALL_CELL_INCHES * cells


def _title(variant: str, top1_percent: float | None) -> str:
    return f'{wrapped(variant, NAME_CHARACTERS)}\ntop-1 {fixed([top1_percent], 2)[0]} %'


def _draw(axes: Axes, matrix: np.ndarray, title: str) -> AxesImage:
    """One matrix; its cells without videos stay white and empty."""
    videos = matrix.sum(1, keepdims=True)
    share = 100.0 * matrix / np.maximum(videos, 1)
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=100, aspect='auto')
    for (i, j), count in np.ndenumerate(matrix):
        if count:
            colour = 'white' if share[i, j] > 55 else '0.15'
            size = FONT - 2 if count < 10_000 else FONT - 4
            axes.text(j, i, str(count), ha='center', va='center', color=colour, fontsize=size)
    axes.set_title(title, fontsize=FONT)
    axes.set_xlabel('predicted', fontsize=FONT)
    axes.set_xticks(np.arange(len(matrix) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(matrix) + 1) - 0.5, minor=True)
    axes.grid(which='minor', color='0.88', linewidth=0.6)
    axes.tick_params(which='both', length=0)
    return image


def _name(left: Axes, right: Axes, classes: tuple[str, ...], *, is_short: bool) -> None:
    """Names of rows, and of columns where they fit there; else labels stand for them."""
    places = range(len(classes))
    names = [wrapped(name, NAME_CHARACTERS) for name in classes]
    beside = names if is_short else [f'{name}  [{i}]' for i, name in enumerate(names)]
    below = names if is_short else [f'[{i}]' for i in places]
    for axes in (left, right):
        axes.set_xticks(places, below, rotation=90 if is_short else 0, fontsize=FONT - 2)
    left.set_yticks(places, beside, fontsize=FONT - 2)
    left.set_ylabel('true', fontsize=FONT)
