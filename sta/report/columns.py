"""What the accuracy table shows: one place for the screen and for Markdown, so that both agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sta.evaluation import FEWEST_VIDEOS, EvaluationResult, SummaryRow, standard_error

UNKNOWN = 'n/a'
TOO_FEW = 'too few'  # videos for an interval, a standard error or a p
K400_VIDEOS, K400_TOP1 = 19_881, 85  # of the validation list, and of the paper's ViT-L
GFLOP_NOTE = '1 GFLOP = 1e9 multiply-accumulates.'


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        head: header, two lines.
        fields: attribute of SummaryRow, or the two that make an interval.
        render: a column's numbers (or pairs of them) to text, one each.
        paired: whether it says how sure a change is, which takes FEWEST_VIDEOS.
    """

    head: str
    fields: tuple[str, ...]
    render: Callable[[Sequence[Any]], list[str]]
    paired: bool = False

    @property
    def heading(self) -> str:
        """The header on one line."""
        return self.head.replace('\n/', '/').replace('\n', ' ').strip()

    def cells(self, rows: Sequence[SummaryRow]) -> list[str]:
        """Text of every row's number; 'n/a' for None, NaN and infinity, or 'too few' videos."""
        numbers = [tuple(getattr(row, field) for field in self.fields) for row in rows]
        texts = self.render([n[0] if len(n) == 1 else n for n in numbers])
        return [
            TOO_FEW if self.paired and row.top1_change is not None and has_too_few(row) else text
            for row, text in zip(rows, texts, strict=True)
        ]


def has_too_few(row: SummaryRow) -> bool:
    """Whether a row is of too few videos for an interval; never where nobody says of how many."""
    return 0 < row.num_videos < FEWEST_VIDEOS


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


def intervals(pairs: Sequence[tuple[float | None, float | None]]) -> list[str]:
    """Intervals such as -1.25..+0.40, without a space so that no line breaks inside.

    One decimal where any reaches 10 points: the column stays narrow, and no more is known.
    """
    known = [end for pair in pairs for end in pair if end is not None and math.isfinite(end)]
    decimals = 2 if max(map(abs, known), default=0.0) < 10 else 1
    lows, highs = (fixed([pair[end] for pair in pairs], decimals, '+') for end in (0, 1))
    ends = zip(lows, highs, strict=True)
    return [UNKNOWN if UNKNOWN in both else '..'.join(both) for both in ends]


def probabilities(values: Sequence[float | None]) -> list[str]:
    """Three decimals; what would be 0.000 is said to be less than 0.001."""
    texts = zip(values, fixed(values, 3), strict=True)
    return ['<0.001' if value is not None and value < 0.0005 else text for value, text in texts]


# Tokens and GFLOPs per video, which follow from the rest, are left to CSV and JSON: 80 columns.
COLUMNS = (
    Column('GFLOPs\n/view', ('gflops_per_view',), scaled),
    Column('saved\n%', ('reduction_percent',), lambda values: fixed(values, 1)),
    Column('top-1\n%', ('top1_percent',), lambda values: fixed(values, 2)),
    Column('top-5\n%', ('top5_percent',), lambda values: fixed(values, 2)),
    Column('top-1\nchange', ('top1_change',), lambda values: fixed(values, 2, '+')),
    Column('95 %\ninterval', ('top1_change_low', 'top1_change_high'), intervals, paired=True),
    Column('\np', ('p_value',), probabilities, paired=True),
    Column('clips\n/s', ('clips_per_s',), scaled),
)


def footer(result: EvaluationResult, rows: Sequence[SummaryRow]) -> str:
    """What a reader must know to use the numbers, in a few short sentences.

    Args:
        result: what was found.
        rows: its summary, see :func:`sta.evaluation.summarise`.
    """
    return (
        f'{_videos(result)} x {counted(result.views, "view")}{_part(result)}.{_decoders(result)} '
        f'{not_finite_note(rows)}{GFLOP_NOTE} {_against(rows)} {unpaired(rows)}'
        f'{_spreads(rows)}{_averages(rows)} clips/s: views per second of the model alone, '
        f'decoding apart. '
        f'{result.precision} on {result.hardware}; {_duration(result)}.'
    )


def not_finite_note(rows: Sequence[SummaryRow]) -> str:
    """Whose scores are NaN or infinite, of how many videos; '' where none are, else ends in ' '."""
    failed = [
        f'{row.name} {row.not_finite} of {counted(row.num_videos, "video")}'
        for row in rows
        if row.not_finite
    ]
    return f'SCORES NOT FINITE, counted as wrong: {", ".join(failed)}. ' if failed else ''


def _against(rows: Sequence[SummaryRow]) -> str:
    """What savings and changes are against, and how sure a change is."""
    if all(row.top1_change is None for row in rows):
        return (
            'saved: GFLOPs against no pruning, which was counted and not evaluated: with 0 among '
            'the schedules changes in top-1 are shown, too.'
        )
    paired = (
        f'too few videos, they need {FEWEST_VIDEOS}'
        if has_too_few(rows[0])
        else 'paired bootstrap and exact McNemar test over the same videos'
    )
    return (
        f'saved and change: GFLOPs and top-1 (in points) against no pruning; 95 % interval and p: '
        f'{paired}.'
    )


def unpaired(rows: Sequence[SummaryRow]) -> str:
    """How little one accuracy alone says; of no pruning, or else of the first variant.

    Where all videos are right, or none, the binomial standard error is 0, which is not how sure the
    accuracy is: the 95 % upper end of what was never seen in n videos is about 3 / n (Hanley and
    Lippman-Hand, JAMA 249, 1983).
    """
    row = next((row for row in rows if not row.pruner), rows[0])
    videos = counted(row.num_videos, 'video')
    if has_too_few(row):
        return f'Unpaired, one top-1 of {videos}: too few for a standard error.'
    if row.top1_percent in (0.0, 100.0):
        which = 'all right' if row.top1_percent else 'all wrong'
        return (
            f'Unpaired, one top-1 of {videos}, {which}, may be off by 3 / n = '
            f'{300 / row.num_videos:.2f} points: without pairing a smaller change means nothing.'
        )
    error = float(standard_error(row.top1_percent, row.num_videos))
    return (
        f'Unpaired, one top-1 of {videos} has a standard error of {error:.2f} points: without the '
        f'pairing a smaller change means nothing.'
    )


def unpaired_on_k400() -> str:
    """Why changes are paired: what the accuracies that papers print are worth without it."""
    error = float(standard_error(K400_TOP1, K400_VIDEOS))
    return (
        f'Unpaired, one top-1 on Kinetics-400 ({K400_VIDEOS:,} videos, about {K400_TOP1} %) has a '
        f'standard error of {error:.2f} points: without pairing, a drop of 0.2 means nothing.'
    )


def _spreads(rows: Sequence[SummaryRow]) -> str:
    """How far draws lie apart, where rows are means over several."""
    means = [row for row in rows if row.averages]
    if not means:
        return ''
    if has_too_few(means[0]):
        return f' Means over seeds; standard deviation of their top-1: {TOO_FEW} videos.'
    spreads = ', '.join(f'{row.pruner}-{row.label} {row.top1_spread:.2f}' for row in means)
    return f' Means over seeds; standard deviation of their top-1 in points: {spreads}.'


def _averages(rows: Sequence[SummaryRow]) -> str:
    """Whose cost depends on the clips."""
    families = sorted({row.pruner for row in rows if row.cost_is_average})
    if not families:
        return ''
    return f' GFLOPs of {", ".join(families)} depend on the clip: means over the evaluated views.'


def _videos(result: EvaluationResult) -> str:
    """How many videos the figures are of; of how many, where some could not be decoded."""
    if not result.left_out:
        return counted(len(result.labels), 'video')
    return f'{len(result.labels)} of {counted(result.num_listed, "video")}'


def _part(result: EvaluationResult) -> str:
    return f' ({result.part})' if result.part else ''


def _decoders(result: EvaluationResult) -> str:
    """Which decoder showed how many videos, where it was not PyAV by the packets alone."""
    if set(result.decoded_by) <= {'pyav'}:
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
