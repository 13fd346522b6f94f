"""Tables: how numbers become text, and the same columns in every format."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from rich.console import Console

from sta.evaluation import EvaluationResult, SummaryRow, summarise
from sta.pruning import Variant
from sta.report import Column, Table, cost_table, print_evaluation, print_table
from sta.report.table import (
    ACCURACY,
    counted,
    decimals,
    fixed,
    intervals,
    latex_text,
    probabilities,
    scaled,
)

from .example import cost, evaluated, result, with_seeds

NAN, INF = float('nan'), float('inf')
SEEN = [column for column in ACCURACY if column.head is not None]


@pytest.mark.parametrize(
    'values, decimals, sign, expected',
    [
        ([1.005, -2.5, 0.0], 1, '', ['1.0', '-2.5', '0.0']),
        ([1.25, -1.25, 0.0], 2, '+', ['+1.25', '-1.25', '+0.00']),
        ([-0.001, -0.0], 2, '+', ['+0.00', '+0.00']),
        ([None, NAN, INF, -INF], 2, '+', ['n/a'] * 4),
    ],
)
def test_fixed(values, decimals, sign, expected) -> None:
    assert fixed(values, decimals, sign) == expected


@pytest.mark.parametrize(
    'values, expected',
    [
        ([9.9994, 0.05], ['9.999', '0.050']),
        ([180.494, 0.5], ['180.49', '0.50']),
        ([17874.6, None], ['17874.6', 'n/a']),
        ([NAN, 1.0], ['n/a', '1.000']),
        ([], []),
    ],
)
def test_scaled_gives_a_column_one_number_of_decimals(values, expected) -> None:
    assert scaled(values) == expected


def test_intervals() -> None:
    pairs = [(-1.256, 0.4), (None, None), (-0.0, 0.001), (NAN, 1.0)]
    assert intervals(pairs) == ['-1.26..+0.40', 'n/a', '+0.00..+0.00', 'n/a']
    assert intervals([(-0.5, 0.25), 'too few'], 3, '') == ['-0.500..0.250', 'too few']
    assert intervals([(-12.345, -1.0), (0.04, 1.0)]) == ['-12.3..-1.0', '+0.0..+1.0']


def test_probabilities() -> None:
    values = [1.0, 0.0312, 0.0005, 0.00049, 0.0, None, NAN]
    assert probabilities(values) == ['1.000', '0.031', '0.001', '<0.001', '<0.001', 'n/a', 'n/a']


def test_counted() -> None:
    assert [counted(n, 'view') for n in (0, 1, 2)] == ['0 views', '1 view', '2 views']


def test_text_among_numbers_stands_as_it_is() -> None:
    values = [1.0, 'too few', None]
    assert fixed(values, 1) == ['1.0', 'too few', 'n/a']
    assert scaled(values) == ['1.000', 'too few', 'n/a']
    assert probabilities(values) == ['1.000', 'too few', 'n/a']
    assert decimals(1, unknown='-')(values) == ['1.0', 'too few', '-']


COLUMNS = (
    Column('name', 'variant'),
    Column('ms', 'ms\nmedian', decimals(1)),
    Column('', '95 %\ninterval', intervals, lambda row: row['ends']),
    Column('stages'),
)
ROWS = [
    {'name': 'a|b_<c>', 'ms': 1.25, 'ends': (-1.0, 0.5), 'stages': (8, 4)},
    {'name': '[1]', 'ms': NAN, 'ends': 'too few', 'stages': ()},
]
TABLE = Table(COLUMNS, ROWS, title='Speeds & more', note='below')


def test_one_list_of_columns_is_every_format() -> None:
    """People see heads and texts, programs names and values."""
    assert TABLE.headings == ['variant', 'ms median', '95 % interval']
    assert TABLE.lines() == [('a|b_<c>', '1.2', '-1.00..+0.50'), ('[1]', 'n/a', 'too few')]
    assert TABLE.markdown() == [
        '| variant | ms median | 95 % interval |',
        '| --- | ---: | ---: |',
        '| a\\|b_<c> | 1.2 | -1.00..+0.50 |',
        '| [1] | n/a | too few |',
    ]
    assert TABLE.csv() == 'name,ms,stages\na|b_<c>,1.25,8 4\n[1],,\n'
    assert TABLE.records() == [
        {'name': 'a|b_<c>', 'ms': 1.25, 'stages': [8, 4]},
        {'name': '[1]', 'ms': None, 'stages': []},
    ]
    latex = TABLE.latex('tab:s', notes=['100 %'], comments=['x\ny']).splitlines()
    assert latex[0] == '% x y' and r'\caption{Speeds \& more}' in latex
    assert r'a|b\_\textless{}c\textgreater{} & 1.2 & -1.00..+0.50 \\' in latex
    assert r'{[1]} & n/a & too few \\' in latex  # else an option of the line break before it
    assert r'\begin{tabular}{lrr}' in latex
    assert r'\par\footnotesize\raggedright 100 \%' in latex


def test_html_shows_names_as_they_are() -> None:
    cells: list[str] = []
    parser = HTMLParser()
    parser.handle_data = lambda text: cells.append(text)  # type: ignore[method-assign]
    parser.feed(TABLE.html())
    shown = [text for text in cells if text.strip()]
    assert shown == ['Speeds & more', *TABLE.headings, *(c for line in TABLE.lines() for c in line)]


def test_a_column_more_is_one_entry_in_every_format() -> None:
    more = Column('twice', 'twice\nms', decimals(1), lambda row: 2 * row['ms'])
    table = Table((*COLUMNS, more), ROWS[:1], title='t')
    assert table.records()[0]['twice'] == 2.5
    assert table.csv().splitlines()[0].endswith(',twice') and table.csv().endswith(',2.5\n')
    file = io.StringIO()
    print_table(table, Console(file=file, width=80))
    for text in (table.markdown()[2], table.latex('l'), table.html(), file.getvalue()):
        assert '2.5' in text


def test_columns_of_what_holds_a_row() -> None:
    held = Table([c.of(lambda holder: holder.row) for c in COLUMNS], [SimpleNamespace(row=ROWS[0])])
    assert held.lines() == TABLE.lines()[:1] and held.records() == TABLE.records()[:1]


def test_escaping_for_latex() -> None:
    assert latex_text('100% of a_b & {c}') == r'100\% of a\_b \& \{c\}'
    assert latex_text('--out \\ ~ ^ $ # <>') == (
        r'-{}-out \textbackslash{} \textasciitilde{} \textasciicircum{} \$ \# '
        r'\textless{}\textgreater{}'
    )
    signed = Table([Column('', 'a', value=str)], ['-0.05', '+1', '-'])
    assert re.findall(r'^(.*) \\\\$', signed.latex('l'), re.M) == ['a', '$-0.05$', '$+1$', '-']


def test_the_columns_of_an_evaluation() -> None:
    """All that is summarised is for programs, what follows from it too; heads are narrow."""
    plain = [column.name for column in ACCURACY if column.name and column.value is None]
    assert plain == [field.name for field in dataclasses.fields(SummaryRow)]
    assert [column.heading for column in SEEN] == [
        'variant',
        'GFLOPs/view',
        'saved %',
        'top-1 %',
        'top-5 %',
        'top-1 change',
        '95 % interval',
        'p',
        'clips/s',
    ]
    for column in SEEN[1:]:
        lines = (column.head or '').split('\n')
        assert len(lines) == 2
        assert max(map(len, lines)) <= 8


def cells_by_heading(rows: list[SummaryRow]) -> dict[str, list[str]]:
    return {column.heading: column.cells(rows) for column in SEEN}


def test_cells_are_the_attributes_of_the_rows() -> None:
    rows = summarise(result())
    cells = cells_by_heading(rows)
    assert cells['95 % interval'] == [
        f'{row.top1_change_low:+.1f}..{row.top1_change_high:+.1f}' for row in rows
    ]
    assert cells['top-1 %'] == [f'{row.top1_percent:.2f}' for row in rows]
    assert cells['top-1 change'] == [f'{row.top1_change:+.2f}' for row in rows]
    assert cells['saved %'] == [f'{row.reduction_percent:.1f}' for row in rows]


@pytest.mark.parametrize('number', [1, 2, 3, 4])
def test_too_few_videos_for_what_says_how_sure_a_change_is(number: int) -> None:
    found = evaluated(result(num_videos=number))
    cells = {heading: set(texts) for heading, texts in cells_by_heading(found.shown).items()}
    is_few = number < 4
    assert (cells['95 % interval'] == cells['p'] == {'too few'}) == is_few
    assert ('95 % interval and p: too few videos, they need 4' in found.note) == is_few
    assert ('too few for a standard error' in found.note) == is_few
    assert 'error of 0.00' not in found.note
    without = cells_by_heading(summarise(result(num_videos=number, unpruned=False)))
    assert set(without['95 % interval']) == {'n/a'}  # there is no change


def printed(found: EvaluationResult, width: int, **settings) -> str:
    file = io.StringIO()
    print_evaluation(evaluated(found), Console(file=file, width=width, **settings))
    return file.getvalue()


def renamed(found: EvaluationResult, name: str) -> EvaluationResult:
    """The same with another name for the second variant."""
    first, second, *others = found.variants
    second = dataclasses.replace(second, variant=Variant(name, None, 32, 'sta'))
    return dataclasses.replace(found, variants=(first, second, *others))


def cells_of(text: str, name: str) -> list[str]:
    """The numbers printed behind a name."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()


@pytest.mark.parametrize('width', [40, 80, 100, 120, 200])
def test_every_number_at_every_width(width) -> None:
    text = printed(result(), width)
    rows = summarise(result())
    for name, *cells in Table(ACCURACY, rows).lines():
        assert cells_of(text, name) == cells
    assert '…' not in text
    assert max(map(len, text.splitlines())) <= max(width, 80)


def test_large_numbers_fit_on_80_columns() -> None:
    found = result()
    dear = dataclasses.replace(cost(0), gflops_per_view=1191.64)
    first = dataclasses.replace(found.variants[0], cost=dear, clips_per_s=1234.56)
    text = printed(dataclasses.replace(found, variants=(first, *found.variants[1:])), 80)
    assert cells_of(text, 'unpruned')[0] == '1191.6'
    assert cells_of(text, 'unpruned')[-1] == '1234.6'
    assert max(map(len, text.splitlines())) <= 80


def test_unknown_changes_are_said_to_be() -> None:
    cells = cells_of(printed(result(unpruned=False), 80), 'sta-32')
    assert (cells[1], *cells[4:7]) == ('n/a',) * 4


def test_gains_carry_a_plus_sign() -> None:
    found = result()
    swapped = dataclasses.replace(found.variants[0], scores=found.variants[-1].scores)
    found = dataclasses.replace(found, variants=(swapped, *found.variants[1:]))
    assert cells_of(printed(found, 80), 'sta-32')[4].startswith('+')


@pytest.mark.parametrize(
    'name', ['sta-[48, 96]', '[bold]sta[/bold]', 'sta-überlang-été', 'スタ-32', 'sta:smile:']
)
def test_names_are_printed_as_they_are(name) -> None:
    assert len(cells_of(printed(renamed(result(), name), 120), name)) == len(SEEN) - 1


def test_a_long_name_is_folded_and_no_number_lost() -> None:
    name = 'sta[score=temporal,first_frame=grid]-48,96,192'
    text = printed(renamed(result(), name), 80)
    start = text.index('sta[')
    folded = text[start : text.index('sta-48')].splitlines()
    assert ''.join(line.split(' ')[0] for line in folded) == name
    assert cells_of(text, 'sta-48')[0] == '114.77'
    assert max(map(len, text.splitlines())) <= 80


def test_a_log_is_100_columns_of_plain_ascii(monkeypatch) -> None:
    monkeypatch.setenv('COLUMNS', '37')
    monkeypatch.setattr(sys, 'stdout', io.StringIO())
    print_evaluation(evaluated(result()))
    text = sys.stdout.getvalue()
    assert text.isascii()
    assert '\x1b' not in text
    assert cells_of(text, 'sta-64')[0] == '95.01'


def test_a_locale_without_unicode_gets_escapes_instead_of_an_error() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding='ascii')
    print_evaluation(evaluated(renamed(result(), 'sta-ü')), Console(file=file, width=100))
    file.flush()
    assert b'sta-\\xfc' in raw.getvalue()


def test_a_colour_terminal_shows_the_same_text() -> None:
    plain = printed(result(), 80)
    coloured = printed(result(), 80, force_terminal=True, color_system='standard')
    assert '\x1b' in coloured
    assert 'sta-64' in coloured
    assert coloured.count('\n') == plain.count('\n')


def print_costs(costs, width: int = 80, views: int = 15) -> str:
    file = io.StringIO()
    table = cost_table(costs, views=views, title='a model')
    print_table(table, Console(file=file, width=width))
    return file.getvalue()


def test_costs_worked_by_hand() -> None:
    half = dataclasses.replace(cost(64), gflops_per_view=90.2)
    text = print_costs([('unpruned', cost(0)), ('sta-64', half)])
    first = ['1568', '-', '180.49', '2707.4', '0.0', '86.53']
    assert cells_of(text, 'unpruned') == first
    second = ['1568', '1056', '800', '672', '90.20', '1353.0', '50.0', '86.53']
    assert cells_of(text, 'sta-64') == second
    assert '1 GFLOP = 1e9 multiply-accumulates' in text
    assert '15 views per video' in text


def test_costs_without_the_unpruned_one() -> None:
    text = print_costs([('sta-64', cost(64))], views=1)
    assert cells_of(text, 'sta-64')[-2] == 'n/a'
    assert '1 view per video' in text


def test_many_stages_are_all_there() -> None:
    after = tuple(range(1500, 1500 - 12 * 20, -20))
    many = dataclasses.replace(cost(0), tokens_after_stages=after)
    text = print_costs([('unpruned', cost(0)), ('sta-many', many)])
    assert '…' not in text
    assert all(str(count) in text for count in after)
    assert max(map(len, text.splitlines())) <= 80


def test_draws_are_shown_as_their_mean_and_their_spread() -> None:
    text = printed(with_seeds(), 100)
    mean = summarise(with_seeds())[1]
    cells = cells_of(text, 'random-32 (2 seeds)')
    assert cells[2] == f'{mean.top1_percent:.2f}'
    assert cells[6] == 'n/a'  # no p of a mean
    assert 'random[seed=' not in text
    spread = f'standard deviation of their top-1 in points: random-32 {mean.top1_spread:.2f}.'
    assert spread in ' '.join(text.split())
    assert max(map(len, printed(with_seeds(), 80).splitlines())) <= 80


def test_without_draws_no_spread_is_spoken_of() -> None:
    assert 'seeds' not in printed(result(), 80)


def test_a_table_too_wide_for_the_screen_keeps_every_column() -> None:
    """rich narrows columns until they are gone: then the lines are longer than the screen."""
    names = ['VideoSwin-B r1=256']
    cells = [[f'{100 + i}.25'] for i in range(14)] + [['8448 1600 272']]
    heads = ['model', *(f'GFLOPs\n{i}' for i in range(15))]
    columns = [Column(str(i), head) for i, head in enumerate(heads)]
    line = [*names, *(cell for [cell] in cells)]
    table = Table(columns, [{str(i): cell for i, cell in enumerate(line)}])
    file = io.StringIO()
    print_table(table, Console(file=file, width=80))
    words = file.getvalue().split()
    assert [word for word in words if word.endswith('.25')] == [cell for [cell] in cells[:14]]
    assert {'VideoSwin-B', 'r1=256', '8448', '1600', '272', 'model'} <= set(words)


def test_a_title_longer_than_the_table_is_not_broken() -> None:
    title = 'videos/' + 'a' * 90 + '.mp4'
    table = Table(
        [Column('rank', 'rank'), Column('sta', 'sta-8')], [dict(rank=1, sta='9 %')], title
    )
    file = io.StringIO()
    print_table(table, Console(file=file, width=80))
    assert file.getvalue().splitlines()[0] == title
