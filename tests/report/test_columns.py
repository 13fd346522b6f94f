"""How numbers become text."""

from __future__ import annotations

import dataclasses

import pytest

from sta.evaluation import summarise
from sta.report.columns import COLUMNS, counted, fixed, footer, scaled

from .example import result

NAN, INF = float('nan'), float('inf')


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


def test_counted() -> None:
    assert [counted(n, 'view') for n in (0, 1, 2)] == ['0 views', '1 view', '2 views']


def test_headings_on_one_line() -> None:
    assert [column.heading for column in COLUMNS] == [
        'tokens kept',
        'GFLOPs/view',
        'GFLOPs/video',
        'saved %',
        'top-1 %',
        'top-5 %',
        'top-1 change',
        'clips/s',
    ]


def test_headers_are_two_lines_and_narrow() -> None:
    for column in COLUMNS:
        lines = column.head.split('\n')
        assert len(lines) == 2
        assert max(map(len, lines)) <= 6


def test_cells_are_the_attributes_of_the_rows() -> None:
    rows = summarise(result())
    cells = {column.field: column.cells(rows) for column in COLUMNS}
    assert cells['tokens_kept'][:4] == ['1568', '1120', '896', '672']
    assert cells['top1_percent'] == [f'{row.top1_percent:.2f}' for row in rows]
    assert cells['top1_change'] == [f'{row.top1_change:+.2f}' for row in rows]
    assert cells['reduction_percent'] == [f'{row.reduction_percent:.1f}' for row in rows]


def test_footer_says_everything_needed_to_use_the_numbers() -> None:
    text = footer(result())
    for part in (
        '300 videos x 15 views',
        '1 GFLOP = 1e9 multiply-accumulates',
        'views per second of the model alone, decoding apart',
        'fp32 on Example CPU @ 2.00 GHz, 2 cores',
        '123 s in all',
        '8 % of it waiting for decoding',
    ):
        assert part in text
    assert text.isascii()


def test_footer_without_a_clock() -> None:
    text = footer(dataclasses.replace(result(num_videos=1), views=1, wait_share=NAN))
    assert text.startswith('1 video x 1 view.')
    assert 'n/a of it waiting' in text
