"""What the accuracy table shows: one place for the screen and for Markdown, so that both agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sta.evaluation import EvaluationResult, SummaryRow

UNKNOWN = 'n/a'
GFLOP_NOTE = '1 GFLOP = 1e9 multiply-accumulates.'


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        head: header, two lines.
        field: attribute of SummaryRow.
        render: a column's numbers to text, one each.
    """

    head: str
    field: str
    render: Callable[[Sequence[float | None]], list[str]]

    @property
    def heading(self) -> str:
        """The header on one line."""
        return self.head.replace('\n/', '/').replace('\n', ' ')

    def cells(self, rows: Sequence[SummaryRow]) -> list[str]:
        """Text of every row's number; 'n/a' for None, NaN and infinity."""
        return self.render([getattr(row, self.field) for row in rows])


def fixed(values: Sequence[float | None], decimals: int, sign: str = '') -> list[str]:
    """Numbers with the same decimals; never a negative zero. ``sign='+'`` shows plus signs."""
    return [
        UNKNOWN
        if value is None or not math.isfinite(value)
        else f'{round(value, decimals) + 0.0:{sign}.{decimals}f}'
        for value in values
    ]


def scaled(values: Sequence[float | None]) -> list[str]:
    """Numbers with as many decimals as the largest of the column deserves, and no more."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    return fixed(values, 3 if largest < 10 else 2 if largest < 1000 else 1)


def whole(values: Sequence[int]) -> list[str]:
    """Integers."""
    return [str(value) for value in values]


COLUMNS = (
    Column('tokens\nkept', 'tokens_kept', whole),
    Column('GFLOPs\n/view', 'gflops_per_view', scaled),
    Column('GFLOPs\n/video', 'gflops_per_video', scaled),
    Column('saved\n%', 'reduction_percent', lambda values: fixed(values, 1)),
    Column('top-1\n%', 'top1_percent', lambda values: fixed(values, 2)),
    Column('top-5\n%', 'top5_percent', lambda values: fixed(values, 2)),
    Column('top-1\nchange', 'top1_change', lambda values: fixed(values, 2, '+')),
    Column('clips\n/s', 'clips_per_s', scaled),
)


def footer(result: EvaluationResult) -> str:
    """What a reader must know to use the numbers, in a few short sentences."""
    return (
        f'{_videos(result)} x {counted(result.views, "view")}.{_decoders(result)} {GFLOP_NOTE} '
        'saved and change: GFLOPs and top-1 (in points) against no pruning. '
        'clips/s: views per second of the model alone, decoding apart. '
        f'{result.precision} on {result.hardware}; {_duration(result)}.'
    )


def _videos(result: EvaluationResult) -> str:
    """How many videos the figures are of; of how many, where some could not be decoded."""
    if not result.left_out:
        return counted(len(result.labels), 'video')
    return f'{len(result.labels)} of {counted(result.num_listed, "video")}'


def _decoders(result: EvaluationResult) -> str:
    """Which decoder showed how many videos, where it was not decord alone."""
    if set(result.decoded_by) <= {'decord'}:
        return ''
    counts = sorted(result.decoded_by.items(), key=lambda item: -item[1])
    return f' Decoded by {", ".join(f"{name}: {number}" for name, number in counts)}.'


def _duration(result: EvaluationResult) -> str:
    waiting = 'n/a' if not math.isfinite(result.wait_share) else f'{100 * result.wait_share:.0f} %'
    new = result.num_listed - result.resumed
    if new == 0:
        return 'scores of an earlier session'
    of_what = f'for the last {counted(new, "video")}' if result.resumed else 'in all'
    return f'{result.wall_s:.0f} s {of_what}, {waiting} of it waiting for decoding'


def counted(number: int, noun: str, plural: str = '') -> str:
    """'1 view', '2 views'; ``plural`` for nouns that take more than an s."""
    return f'{number} {noun if number == 1 else plural or noun + "s"}'
