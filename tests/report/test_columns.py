"""How numbers become text."""

from __future__ import annotations

import dataclasses

import pytest

from sta.evaluation import summarise
from sta.report.columns import (
    COLUMNS,
    counted,
    fixed,
    footer,
    intervals,
    probabilities,
    scaled,
)

from .example import result

NAN, INF = float('nan'), float('inf')
SHARE = summarise(result())[0].top1_percent / 100
ERROR = 100 * (SHARE * (1 - SHARE) / 300) ** 0.5


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
    assert intervals([(-12.345, -1.0), (0.04, 1.0)]) == ['-12.3..-1.0', '+0.0..+1.0']


def test_probabilities() -> None:
    values = [1.0, 0.0312, 0.0005, 0.00049, 0.0, None, NAN]
    assert probabilities(values) == ['1.000', '0.031', '0.001', '<0.001', '<0.001', 'n/a', 'n/a']


def test_counted() -> None:
    assert [counted(n, 'view') for n in (0, 1, 2)] == ['0 views', '1 view', '2 views']


def test_headings_on_one_line() -> None:
    assert [column.heading for column in COLUMNS] == [
        'GFLOPs/view',
        'saved %',
        'top-1 %',
        'top-5 %',
        'top-1 change',
        '95 % interval',
        'p',
        'clips/s',
    ]


def test_headers_are_two_lines_and_narrow() -> None:
    for column in COLUMNS:
        lines = column.head.split('\n')
        assert len(lines) == 2
        assert max(map(len, lines)) <= 8


def test_cells_are_the_attributes_of_the_rows() -> None:
    rows = summarise(result())
    cells = {column.fields[0]: column.cells(rows) for column in COLUMNS}
    assert cells['top1_change_low'] == [
        f'{row.top1_change_low:+.1f}..{row.top1_change_high:+.1f}' for row in rows
    ]
    assert cells['top1_percent'] == [f'{row.top1_percent:.2f}' for row in rows]
    assert cells['top1_change'] == [f'{row.top1_change:+.2f}' for row in rows]
    assert cells['reduction_percent'] == [f'{row.reduction_percent:.1f}' for row in rows]


def test_footer_says_everything_needed_to_use_the_numbers() -> None:
    text = footer(result(), summarise(result()))
    for part in (
        '300 videos x 15 views',
        '1 GFLOP = 1e9 multiply-accumulates',
        'paired bootstrap and exact McNemar test',
        f'one top-1 of 300 videos has a standard error of {ERROR:.2f} points',
        'views per second of the model alone, decoding apart',
        'fp32 on Example CPU @ 2.00 GHz, 2 cores',
        '123 s in all',
        '8 % of it waiting for decoding',
    ):
        assert part in text
    assert text.isascii()


@pytest.mark.parametrize('number', [1, 2, 3, 4])
def test_too_few_videos_for_what_says_how_sure_a_change_is(number: int) -> None:
    found = result(num_videos=number)
    rows = summarise(found)
    cells = {column.heading: set(column.cells(rows)) for column in COLUMNS}
    text = footer(found, rows)
    is_few = number < 4
    assert (cells['95 % interval'] == cells['p'] == {'too few'}) == is_few
    assert ('95 % interval and p: too few videos, they need 4' in text) == is_few
    assert ('too few for a standard error' in text) == is_few
    assert 'error of 0.00' not in text
    without = result(num_videos=number, unpruned=False)
    cells = {column.heading: set(column.cells(summarise(without))) for column in COLUMNS}
    assert cells['95 % interval'] == {'n/a'}  # there is no change


def test_where_all_are_right_the_footer_says_what_that_is_worth() -> None:
    found = result(num_videos=40)
    rows = [dataclasses.replace(row, top1_percent=100.0) for row in summarise(found)]
    assert 'one top-1 of 40 videos, all right, may be off by 3 / n = 7.50 points' in footer(
        found, rows
    )


def test_savings_are_shown_where_no_pruning_was_not_evaluated() -> None:
    found = dataclasses.replace(result(unpruned=False), unpruned_gflops=180.49)
    rows = summarise(found)
    expected = [f'{100 * (1 - row.gflops_per_view / 180.49):.1f}' for row in rows]
    assert COLUMNS[1].cells(rows) == expected
    assert 'no pruning, which was counted and not evaluated' in footer(found, rows)


def test_footer_without_a_clock() -> None:
    found = dataclasses.replace(result(num_videos=1), views=1, wait_share=NAN)
    text = footer(found, summarise(found))
    assert text.startswith('1 video x 1 view.')
    assert 'n/a of it waiting' in text
