"""Which classes are shown, in which order, and what the tables say; on any width of screen."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from sta.datasets.annotations import read_class_names
from sta.evaluation import ClassComparison, compare_classes
from sta.report import print_table
from sta.report.classes import change_texts, confusion_texts, table_of
from sta.report.classes.ends import both_ends
from sta.report.classes.tables import p_text

from .example import compared, small, staircase


def test_changes_worked_by_hand() -> None:
    """Exact McNemar: 7 to 0 is 2/128, 2 to 1 and 0 to 1 are 1; of three, 3 x 2/128 is 0.047."""
    texts = change_texts(small(), 15)
    assert texts.names == ['pull|over', 'push', 'lift, "up"', 'all classes']
    assert texts.columns == {
        '\nvideos': ['8', '8', '2', '18'],
        'before\n%': ['100.0', '75.0', '50.0', '83.3'],
        'after\n%': ['12.5', '62.5', '100.0', '44.4'],
        'change\npoints': ['-87.5', '-12.5', '+50.0', '-38.9'],
        '\nlost': ['7', '2', '0', '9'],
        '\ngained': ['0', '1', '1', '2'],
        '\np': ['0.016', '1.000', '1.000', '0.065'],
        'adj.\np': ['0.047', '1.000', '1.000', '-'],
    }
    assert texts.title == 'Classes: before = unpruned, after = sta-8'
    assert 'over 3 classes; below 0.05 in 1.' in texts.caption
    assert 'Left out: 1 class without videos.' in texts.caption
    assert 'no numbers' not in texts.caption


def test_confusions_worked_by_hand() -> None:
    texts = confusion_texts(small(), 15)
    assert texts.names == [
        'pull|over -> lift, "up"',
        'pull|over -> push',
        'push -> lift, "up"',
    ]
    assert texts.columns == {
        'videos\nbefore': ['0', '0', '0'],
        'videos\nafter': ['5', '2', '1'],
        '\ngrowth': ['+5', '+2', '+1'],
    }


def test_only_so_many_confusions() -> None:
    assert len(confusion_texts(small(), 2).names) == 2
    assert confusion_texts(small(), 1).columns['\ngrowth'] == ['+5']


def test_where_no_confusion_grew() -> None:
    texts = confusion_texts(compared([0, 1], [1, 1], [0, 1], ['a', 'b']), 15)
    assert (texts.names, texts.columns) == (['none grew'], {})
    assert 'none grew' in printed(texts, 80)


def test_scores_that_are_no_numbers_are_said() -> None:
    scores = np.eye(2)
    broken = np.array([[1.0, 0.0], [np.nan, 1.0]])
    found = compare_classes(
        scores, broken, np.array([0, 1]), variants=('a', 'b'), class_names=['x', 'y']
    )
    assert 'b: 1 video with scores that are no numbers.' in change_texts(found, 5).caption
    assert 'a: 1 video' not in change_texts(found, 5).caption


@pytest.mark.parametrize(
    'top, worst, hidden, best',
    [
        (1, [10], 19, [20]),
        (2, [10, 9], 17, [0, 20]),
        (3, [10, 9, 11], 15, [19, 0, 20]),
        (10, [10, 9, 11, 8, 12, 7, 13, 6, 14, 5], 1, [4, 16, 3, 17, 2, 18, 1, 19, 0, 20]),
    ],
)
def test_both_ends_are_the_extremes(top, worst, hidden, best) -> None:
    """Of 21 classes, class i loses i videos up to the tenth, from there on 20 - i."""
    ends = both_ends(staircase(21), top)
    assert [change.label for change in ends.worst] == worst
    assert [change.label for change in ends.best] == best
    assert ends.hidden == hidden


def test_equal_changes_are_ordered_by_evidence_then_label() -> None:
    """-50 points of 2, of 4 and of 2 videos, then +50 of 2 and of 4."""
    sizes, signs = (2, 4, 2, 2, 4), (-1, -1, -1, 1, 1)
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    half = [i < size // 2 for size in sizes for i in range(size)]
    right = [(label, 5) for label in labels]
    before = [r[0] if signs[r[0]] < 0 or h else r[1] for r, h in zip(right, half)]
    after = [r[0] if signs[r[0]] > 0 or h else r[1] for r, h in zip(right, half)]
    found = compared(labels, before, after, [*'abcdef'])
    assert [c.name for c in both_ends(found, 9).worst] == [*'bacde']


@pytest.mark.parametrize(
    'classes, top, shown', [(5, 2, 4), (4, 2, 4), (5, 3, 5), (5, 9, 5), (1, 1, 1)]
)
def test_ends_that_meet_show_every_class_once(classes, top, shown) -> None:
    ends = both_ends(staircase(classes), top)
    labels = [change.label for change in (*ends.worst, *ends.best)]
    assert len(labels) == len(set(labels)) == shown
    assert ends.hidden == classes - shown
    assert bool(ends.best) == bool(ends.hidden)


def test_what_lies_between_is_counted_in_its_place() -> None:
    texts = change_texts(staircase(9), 2)
    assert texts.names == [
        'class 8',
        'class 7',
        '... 5 classes between',
        'class 1',
        'class 0',
        'all classes',
    ]
    assert all(cells[2] == '' and len(cells) == 6 for cells in texts.columns.values())


@pytest.mark.parametrize(
    'value, text',
    [
        (None, 'n/a'),
        (1.0, '1.000'),
        (0.0499, '0.050'),
        (0.0005, '0.001'),
        (0.0004, '<0.001'),
        (0.0, '<0.001'),
    ],
)
def test_p_values_are_never_zero(value, text) -> None:
    assert p_text(value) == text


def printed(texts, width: int) -> str:
    file = io.StringIO()
    print_table(table_of(texts), Console(file=file, width=width))
    return file.getvalue()


def long_names() -> ClassComparison:
    names = sorted(read_class_names('ssv2'), key=len, reverse=True)
    variants = ('unpruned', 'sta[score=temporal,first_frame=grid]-48,96,192')
    return staircase(174, names, variants=variants)


@pytest.mark.parametrize('width', [80, 100, 200])
@pytest.mark.parametrize('make', [small, long_names])
def test_no_figure_and_no_word_is_lost_on_any_width(make, width) -> None:
    for texts in (change_texts(make(), 15), confusion_texts(make(), 15)):
        text = printed(texts, width)
        assert max(map(len, text.splitlines())) <= width
        assert '…' not in text
        lines = [line.split() for line in text.splitlines()]
        for figures in zip(*texts.columns.values()):
            assert not figures[0] or any(line[-len(figures) :] == [*figures] for line in lines)
        assert {word for name in texts.names for word in name.split()} <= set(text.split())
