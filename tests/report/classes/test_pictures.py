"""Pictures hold the figures, read back from what they draw, and crop or squeeze no name."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from sta.datasets.annotations import read_class_names
from sta.report.classes import plot_class_changes, plot_confusions, plot_matrices
from sta.report.classes.bars import AFTER, BEFORE, FELL, PALE, ROSE

from .example import compared, small, staircase

LONGEST = sorted(read_class_names('ssv2'), key=len, reverse=True)
LONG_VARIANTS = ('sta[score=temporal,first_frame=grid]-48,96,192', 'y' * 120)


def names_of(figure: Figure) -> list[str]:
    """Names beside the rows, their lines joined, from top to bottom."""
    axes = figure.axes[0]
    return [' '.join(label.get_text().split('\n')) for label in axes.get_yticklabels()]


def widths(figure: Figure) -> list[float]:
    return [bar.get_width() for bar in figure.axes[0].patches]


def test_bars_are_the_changes_from_the_worst_to_the_best() -> None:
    figure = plot_class_changes(small())
    assert names_of(figure) == ['pull|over', 'push', 'lift, "up"']
    assert widths(figure) == [-87.5, -12.5, 50.0]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in figure.axes[0].patches]
    assert middles == pytest.approx(figure.axes[0].get_yticks())
    assert middles == sorted(middles) and figure.axes[0].yaxis_inverted()
    bottom, top = figure.axes[0].get_ylim()
    assert top < middles[0] - 0.1 and middles[-1] + 0.1 < bottom  # no bar is cut


def test_colours_tell_direction_and_what_may_be_chance() -> None:
    bars = plot_class_changes(small()).axes[0].patches
    expected = [to_rgba(FELL), to_rgba(FELL, PALE), to_rgba(ROSE, PALE)]
    assert [bar.get_facecolor() for bar in bars] == expected


def test_every_bar_carries_its_figures() -> None:
    texts = [text.get_text() for text in plot_class_changes(small()).axes[0].texts]
    assert [text for text in texts if text[0] in '+-'] == ['-87.5', '-12.5', '+50.0']
    shown = [text for text in texts if ' of ' in text and '\n' not in text]
    assert shown == ['7, 0 of 8', '2, 1 of 8', '0, 1 of 2']


def test_both_ends_with_what_lies_between() -> None:
    figure = plot_class_changes(staircase(40), top=15)
    names = names_of(figure)
    assert len(names) == 31 and names[15] == '(10 classes between)'
    assert len(widths(figure)) == 30 and widths(figure) == sorted(widths(figure))


def test_a_picture_does_not_grow_without_end() -> None:
    assert len(names_of(plot_class_changes(staircase(400), top=400))) == 101


@pytest.mark.parametrize('classes', [21, 174])
def test_many_classes_show_the_confusions_that_grew_most(classes) -> None:
    figure = plot_confusions(staircase(classes), top=4)
    assert names_of(figure)[0] == 'class 10 \N{RIGHTWARDS ARROW} class 11'
    assert len(names_of(figure)) == 4
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars][:4] == [10, 20, 10, 19]
    assert [bar.get_facecolor() for bar in bars][:2] == [to_rgba(BEFORE), to_rgba(AFTER)]
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ['10', '20']
    before, after = bars[:2]
    assert before.get_y() + before.get_height() <= after.get_y() + 1e-9  # beside, not across
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ['unpruned', 'sta-8']


def test_where_no_confusion_grew_the_picture_says_so() -> None:
    names = [f'class {i}' for i in range(21)]
    assert names_of(plot_confusions(compared([0], [0], [0], names))) == ['no confusion grew']


def test_few_classes_show_both_matrices() -> None:
    comparison = small()
    left, right, _ = plot_confusions(comparison).axes
    for axes, matrix, title in (
        (left, comparison.matrix_before, 'unpruned\ntop-1 83.33 %'),
        (right, comparison.matrix_after, 'sta-8\ntop-1 44.44 %'),
    ):
        drawn = np.zeros((4, 4), dtype=int)
        for text in axes.texts:
            column, row = text.get_position()
            drawn[row, column] = int(text.get_text())
        assert (drawn == matrix).all()
        share = axes.images[0].get_array()
        assert share[0].tolist() == (100 * matrix[0] / 8).tolist()
        assert share[2].tolist() == [0.0] * 4  # of no videos
        assert axes.get_title() == title
        assert axes.get_xlabel() == 'predicted'
    assert left.get_ylabel() == 'true'
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first class stands above


def test_twenty_classes_are_few() -> None:
    assert len(plot_confusions(staircase(20)).axes) == 3


def test_names_stand_below_columns_where_they_fit_and_numbers_where_not() -> None:
    assert [t.get_text() for t in plot_matrices(small()).axes[1].get_xticklabels()][0] == 'push'
    figure = plot_matrices(staircase(20, LONGEST[:20]))
    below = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert below == [f'[{i}]' for i in range(20)]
    assert names_of(figure) == [
        ' '.join(textwrap.wrap(name, 36)) + f'  [{i}]' for i, name in enumerate(LONGEST[:20])
    ]


def texts_in(figure: Figure) -> list[Text]:
    """Everything written that has a place of its own, after the layout."""
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    inner = [t for axes in figure.axes for t in axes.texts]
    edges = [t for t in texts if t not in inner]
    limits = {axis: axis.get_view_interval() for axes in figure.axes for axis in (axes.xaxis,)}
    ticks = {
        label: axis
        for axis in limits
        for label in axis.get_ticklabels()
        if not min(limits[axis]) <= label.get_position()[0] <= max(limits[axis])
    }
    return [t for t in [*inner, *edges] if t not in ticks]


FIGURES = {
    'ten bars': lambda: plot_class_changes(staircase(10)),
    'one class': lambda: plot_class_changes(compared([0], [0], [0], ['a'])),
    'Kinetics bars': lambda: plot_class_changes(
        staircase(400, sorted(read_class_names('kinetics400'), key=len))
    ),
    'long bars': lambda: plot_class_changes(staircase(174, LONGEST, variants=LONG_VARIANTS)),
    'long confusions': lambda: plot_confusions(staircase(174, LONGEST, variants=LONG_VARIANTS)),
    'two matrices': lambda: plot_matrices(staircase(2)),
    'ten matrices': lambda: plot_matrices(
        staircase(10, ['turning_counter_clockwise', *'abcdefghi'])
    ),
    'matrices, long variants': lambda: plot_matrices(
        staircase(6, variants=('x' * 300, '[y] ' * 75))
    ),
    'one class, long variants': lambda: plot_class_changes(
        compared([0], [0], [0], ['a'], variants=('x' * 300, '[y] ' * 75))
    ),
    'no confusion, long variants': lambda: plot_confusions(
        compared([0], [0], [0], [*'abcdefghijklmnopqrstuvw'], variants=('x' * 300, '[y] ' * 75))
    ),
    'long matrices': lambda: plot_matrices(staircase(20, LONGEST[:20], variants=LONG_VARIANTS)),
}


@pytest.mark.parametrize('make', FIGURES.values(), ids=FIGURES)
def test_nothing_is_cropped_and_nothing_overlaps(make) -> None:
    figure = make()
    texts = texts_in(figure)
    boxes = [text.get_window_extent() for text in texts]
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in zip(texts, boxes):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, text.get_text()
    for i, box in enumerate(boxes):
        for j in range(i):
            shared = min(box.x1, boxes[j].x1) - max(box.x0, boxes[j].x0)
            deep = min(box.y1, boxes[j].y1) - max(box.y0, boxes[j].y0)
            both = (texts[i].get_text(), texts[j].get_text())
            assert shared <= 1 or deep <= 2, both
    axes = figure.axes[0].get_window_extent()
    if len(figure.axes) == 1:
        assert axes.width > 0.3 * width, 'names leave no room for bars'
    else:
        cells = len(figure.axes[0].get_yticks())
        assert min(axes.width, axes.height) > 0.33 * cells * figure.dpi, 'cells are too small'


def test_names_are_never_read_as_formulas() -> None:
    found = compared([0, 1], [0, 1], [1, 1], ['$a$ for $b$', 'x'], ('$p$', '$q$'))
    for figure in (plot_class_changes(found), plot_matrices(found)):
        figure.draw_without_rendering()
        shown = names_of(figure)
        assert r'\$a\$ for \$b\$' in shown


@pytest.mark.filterwarnings('error')  # matplotlib's, of an axis without length
def test_a_variant_against_itself_can_be_drawn() -> None:
    found = compared([0, 1], [0, 1], [0, 1], ['a', 'b'])
    low, high = plot_class_changes(found).axes[0].get_xlim()
    assert low < 0 < high
