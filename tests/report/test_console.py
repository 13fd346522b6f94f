"""Tables lose no digit on any terminal, and are plain text in a log."""

from __future__ import annotations

import dataclasses
import io
import sys

import pytest
from rich.console import Console

from sta.evaluation import EvaluationResult, summarise
from sta.pruning import Variant
from sta.report import cost_table, print_accuracy_table, print_table
from sta.report.columns import COLUMNS
from sta.report.console import table_of_texts

from .example import cost, result, with_seeds


def printed(found: EvaluationResult, width: int, **settings) -> str:
    file = io.StringIO()
    print_accuracy_table(found, Console(file=file, width=width, **settings))
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
    columns = [column.cells(rows) for column in COLUMNS]
    for row, *cells in zip(rows, *columns):
        assert cells_of(text, row.name) == cells
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
    assert len(cells_of(printed(renamed(result(), name), 120), name)) == len(COLUMNS)


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
    print_accuracy_table(result())
    text = sys.stdout.getvalue()
    assert text.isascii()
    assert '\x1b' not in text
    assert cells_of(text, 'sta-64')[0] == '95.01'


def test_a_locale_without_unicode_gets_escapes_instead_of_an_error() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding='ascii')
    print_accuracy_table(renamed(result(), 'sta-ü'), Console(file=file, width=100))
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
    table = table_of_texts('model', names, [f'GFLOPs\n{i}' for i in range(15)], cells, '', '')
    file = io.StringIO()
    print_table(table, Console(file=file, width=80))
    words = file.getvalue().split()
    assert [word for word in words if word.endswith('.25')] == [cell for [cell] in cells[:14]]
    assert {'VideoSwin-B', 'r1=256', '8448', '1600', '272', 'model'} <= set(words)


def test_a_title_longer_than_the_table_is_not_broken() -> None:
    title = 'videos/' + 'a' * 90 + '.mp4'
    table = table_of_texts('rank', ['1'], ['sta-8'], [['run 9 %']], title, '')
    file = io.StringIO()
    print_table(table, Console(file=file, width=80))
    assert file.getvalue().splitlines()[0] == title
    assert str(table.title) == title
