"""Classes: which are shown and in which order, files that read back, pictures that crop no name."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from sta.datasets.annotations import read_class_names
from sta.evaluation import ClassComparison, compare_classes, top_k_correct
from sta.report import Table, print_table
from sta.report.classes import (
    AFTER,
    BEFORE,
    FELL,
    PALE,
    ROSE,
    both_ends,
    changes_table,
    confusions_table,
    in_file_name,
    names_in,
    plot_class_changes,
    plot_confusions,
    plot_matrices,
    write_comparison,
)
from sta.report.folder import by_class

from .example import NAMES, compared, evaluated, result, small, staircase


def cells(table: Table) -> dict[str, list[str]]:
    """Texts by their heads, without the names of the rows."""
    heads = [column.head for column in table.seen]
    return dict(zip(heads[1:], table.cells[1:], strict=True))


def test_changes_worked_by_hand() -> None:
    """Exact McNemar: 7 to 0 is 2/128, 2 to 1 and 0 to 1 are 1; of three, 3 x 2/128 is 0.047."""
    texts = changes_table(small(), 15)
    assert texts.cells[0] == ['pull|over', 'push', 'lift, "up"', 'all classes']
    assert cells(texts) == {
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
    assert 'over 3 classes; below 0.05 in 1.' in texts.note
    assert 'Left out: 1 class without videos.' in texts.note
    assert 'no numbers' not in texts.note


def test_confusions_worked_by_hand() -> None:
    texts = confusions_table(small(), 15)
    assert texts.cells[0] == [
        'pull|over -> lift, "up"',
        'pull|over -> push',
        'push -> lift, "up"',
    ]
    assert cells(texts) == {
        'videos\nbefore': ['0', '0', '0'],
        'videos\nafter': ['5', '2', '1'],
        '\ngrowth': ['+5', '+2', '+1'],
    }


def test_only_so_many_confusions() -> None:
    assert len(confusions_table(small(), 2).cells[0]) == 2
    assert cells(confusions_table(small(), 1))['\ngrowth'] == ['+5']


def test_where_no_confusion_grew() -> None:
    texts = confusions_table(compared([0, 1], [1, 1], [0, 1], ['a', 'b']), 15)
    assert (texts.cells[0], cells(texts)) == (['none grew'], {})
    assert 'none grew' in printed(texts, 80)


def test_scores_that_are_no_numbers_are_said() -> None:
    scores = np.eye(2)
    broken = np.array([[1.0, 0.0], [np.nan, 1.0]])
    found = compare_classes(
        scores, broken, np.array([0, 1]), variants=('a', 'b'), class_names=['x', 'y']
    )
    assert 'b: 1 video with scores that are no numbers.' in changes_table(found, 5).note
    assert 'a: 1 video' not in changes_table(found, 5).note


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
    texts = changes_table(staircase(9), 2)
    assert texts.cells[0] == [
        'class 8',
        'class 7',
        '... 5 classes between',
        'class 1',
        'class 0',
        'all classes',
    ]
    assert all(column[2] == '' and len(column) == 6 for column in cells(texts).values())


def printed(texts, width: int) -> str:
    file = io.StringIO()
    print_table(texts, Console(file=file, width=width))
    return file.getvalue()


def long_names() -> ClassComparison:
    names = sorted(read_class_names('ssv2'), key=len, reverse=True)
    variants = ('unpruned', 'sta[score=temporal,first_frame=grid]-48,96,192')
    return staircase(174, names, variants=variants)


@pytest.mark.parametrize('width', [80, 100, 200])
@pytest.mark.parametrize('make', [small, long_names])
def test_no_figure_and_no_word_is_lost_on_any_width(make, width) -> None:
    for texts in (changes_table(make(), 15), confusions_table(make(), 15)):
        text = printed(texts, width)
        assert max(map(len, text.splitlines())) <= width
        assert '…' not in text
        lines = [line.split() for line in text.splitlines()]
        for figures in zip(*cells(texts).values()):
            assert not figures[0] or any(line[-len(figures) :] == [*figures] for line in lines)
        assert {word for name in texts.cells[0] for word in name.split()} <= set(text.split())


FACTS = {'command': 'python tools/compare_classes.py run', 'scores': 'run/scores.npz'}
PAIR = 'unpruned_vs_sta-8'


def write(comparison, folder: Path, top: int = 15) -> dict[str, Path]:
    return {path.name: path for path in write_comparison(comparison, folder, FACTS, top=top)}


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def reject(constant: str) -> None:
    raise AssertionError(f'{constant} is no JSON')


def test_the_files_are_those_it_names_and_nothing_else(tmp_path) -> None:
    folder = tmp_path / 'new' / 'folder'
    written = write(small(), folder)
    stems = [f'classes_{PAIR}'] * 5 + [f'confusions_{PAIR}'] * 2
    kinds = ['csv', 'json', 'md', 'png', 'svg', 'png', 'svg']
    assert list(written) == [f'{stem}.{kind}' for stem, kind in zip(stems, kinds)]
    assert sorted(written) == sorted(path.name for path in folder.iterdir())
    assert all(path.stat().st_size > 0 for path in written.values())


def test_csv_worked_by_hand(tmp_path) -> None:
    push, pull, unseen, lift = lines_of(write(small(), tmp_path)[f'classes_{PAIR}.csv'])
    assert (push['label'], push['name'], push['videos']) == ('0', 'push', '8')
    assert [push[key] for key in ('correct_before', 'correct_after', 'lost', 'gained')] == [
        '6', '5', '2', '1',
    ]  # fmt: skip
    figures = ('before_percent', 'after_percent', 'change_points', 'p_value', 'adjusted_p')
    assert [float(pull[key]) for key in figures] == pytest.approx(
        [100.0, 12.5, -87.5, 2 / 128, 6 / 128]
    )
    assert unseen['videos'] == '0' and [unseen[key] for key in figures] == [''] * 5
    assert [line['name'] for line in (push, pull, unseen, lift)] == list(NAMES)


def test_json_holds_every_class_and_every_confusion(tmp_path) -> None:
    text = write(small(), tmp_path)[f'classes_{PAIR}.json'].read_text(encoding='utf-8')
    found = json.loads(text, parse_constant=reject)
    assert found['environment'] == FACTS
    assert (found['before'], found['after']) == ('unpruned', 'sta-8')
    assert [line['name'] for line in found['classes']] == list(NAMES)
    assert found['classes'][2]['before_percent'] is None
    assert found['classes'][1]['change_points'] == -87.5
    assert (found['total']['lost'], found['total']['gained']) == (9, 2)
    assert found['confusions'] == [
        {'true': 1, 'predicted': 3, 'before': 0, 'after': 5},
        {'true': 1, 'predicted': 0, 'before': 0, 'after': 2},
        {'true': 0, 'predicted': 3, 'before': 0, 'after': 1},
        {'true': 0, 'predicted': 1, 'before': 2, 'after': 2},
        {'true': 3, 'predicted': 0, 'before': 1, 'after': 0},
    ]


def test_csv_and_json_hold_all_classes_however_few_are_shown(tmp_path) -> None:
    written = write(staircase(30), tmp_path, top=1)
    assert len(lines_of(written[f'classes_{PAIR}.csv'])) == 30
    found = json.loads(written[f'classes_{PAIR}.json'].read_text())
    assert [line['label'] for line in found['classes']] == list(range(30))


def test_markdown_shows_what_the_screen_shows(tmp_path) -> None:
    text = write(small(), tmp_path)[f'classes_{PAIR}.md'].read_text(encoding='utf-8')
    lines = text.splitlines()
    assert lines[0] == '**Classes: before = unpruned, after = sta-8**'
    heads = 'class | videos | before % | after % | change points | lost | gained | p | adj. p'
    assert lines[2] == f'| {heads} |'
    assert lines[4] == r'| pull\|over | 8 | 100.0 | 12.5 | -87.5 | 7 | 0 | 0.016 | 0.047 |'
    assert changes_table(small(), 15).note in text
    assert r'| pull\|over -> lift, "up" | 0 | 5 | +5 |' in lines
    assert f'![](classes_{PAIR}.png)' in lines and f'![](confusions_{PAIR}.png)' in lines
    assert FACTS['command'] in lines


def test_addresses_of_pictures_hold_no_bracket(tmp_path) -> None:
    found = dataclasses.replace(small(), after='sta[a=(b) c]-8')
    (markdown,) = (p for name, p in write(found, tmp_path).items() if name.endswith('.md'))
    (first, _) = (line for line in markdown.read_text().splitlines() if line.startswith('!['))
    address = first.removeprefix('![](').removesuffix(')')
    assert not set(address) & set('[]() ')


def test_the_same_comparison_gives_the_same_bytes(tmp_path) -> None:
    first, second = write(small(), tmp_path / 'a'), write(small(), tmp_path / 'b')
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()


@pytest.mark.parametrize('variant', ['sta-8', 'sta-48,96,192', 'sta[score=temporal]-8', 'a.b+c_d'])
def test_usual_names_stay_what_they_are(variant) -> None:
    assert in_file_name(variant) == variant


def test_odd_names_are_safe_and_still_different() -> None:
    odd = ['a/b', 'a:b', 'a b', '../a', 'a*b', 'x' * 300, 'x' * 301, 'ä', 'スタ', 'a\nb', '']
    names = [in_file_name(variant) for variant in odd]
    assert len(set(names)) == len(odd)
    assert all(len(name.encode()) < 100 and not set(name) & set('/\\:*?"<>| \n') for name in names)


@pytest.mark.filterwarnings('error')
def test_odd_names_can_be_written(tmp_path) -> None:
    found = compared([0, 1], [0, 1], [1, 1], ['$a$', 'b'], ('../x/' + 'y' * 300, 'ü|$z$'))
    written = write(found, tmp_path)
    assert all(path.parent == tmp_path for path in written.values())
    (table,) = (path for name, path in written.items() if name.endswith('.json'))
    assert json.loads(table.read_text(encoding='utf-8'))['after'] == 'ü|$z$'


def test_classes_of_all_variants(tmp_path) -> None:
    found = result()
    table = by_class(evaluated(found))
    lines = table.records()
    assert [line['label'] for line in lines] == list(range(10))
    assert [line['name'] for line in lines] == [f'class {i}' for i in range(10)]
    assert {line['videos'] for line in lines} == {30}
    heads = [f'top1_percent:{v.variant.name}' for v in found.variants]
    assert list(lines[0]) == ['label', 'name', 'videos', *heads]
    assert table.headings == ['class', 'videos', *(v.variant.name for v in found.variants)]
    for v, head in zip(found.variants, heads):
        correct = top_k_correct(v.scores, found.labels, 1)
        for label, line in enumerate(lines):
            assert line[head] == pytest.approx(100 * correct[found.labels == label].mean())


def test_classes_without_videos_have_empty_cells(tmp_path) -> None:
    found = dataclasses.replace(result(), labels=np.arange(300) % 3)
    found = dataclasses.replace(evaluated(found), class_names=tuple('abcdefghij'))
    path = tmp_path / 'classes.csv'
    path.write_text(by_class(found).csv())
    assert names_in(path) == tuple('abcdefghij')
    lines = lines_of(path)
    assert [line['videos'] for line in lines] == ['100'] * 3 + ['0'] * 7
    assert lines[3]['top1_percent:unpruned'] == '' and lines[2]['top1_percent:unpruned'] != ''
    assert by_class(found).cells[2][3] == 'n/a'


def test_as_many_names_as_classes() -> None:
    found = dataclasses.replace(evaluated(result()), class_names=('a', 'b'))
    with pytest.raises(ValueError, match='2 names of classes, scores of 10'):
        by_class(found)


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
