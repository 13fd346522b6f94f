"""One pruner against the others at nearest cost, over the same videos."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sta.errors import DataError
from sta.evaluation import (
    FEWEST_VIDEOS,
    PairedChange,
    SummaryRow,
    all_finite,
    paired_change,
    top_k_correct,
)

from .folder import Evaluation, Scores, load
from .table import (
    TOO_FEW,
    Column,
    Table,
    columns_of,
    counted,
    decimals,
    intervals,
    probabilities,
    scaled,
)

NOTE = (
    'difference: top-1 in points against the variant of {family} whose GFLOPs are nearest, over '
    'the same {videos}, with its paired 95 % bootstrap interval and exact McNemar '
    'p (none for means over seeds).'
)


class Versus(NamedTuple):
    """One variant against the reference of nearest cost.

    Attributes:
        name: of the variant, or of several draws of it.
        against: name of the reference variant.
        gflops: 1e9 multiply-accumulates per view.
        gflops_against: of the reference.
        not_finite: videos whose scores are not finite under either, and count as wrong.
        difference: in top-1, points.
        num_videos: that both were evaluated on.
    """

    name: str
    against: str
    gflops: float
    gflops_against: float
    not_finite: int
    difference: PairedChange
    num_videos: int


def _if_enough(one: Versus, value: Any) -> Any:
    return TOO_FEW if one.num_videos < FEWEST_VIDEOS else value


COLUMNS: tuple[Column[Versus], ...] = (
    Column('name', 'variant'),
    Column('against', 'against'),
    Column('gflops', 'GFLOPs\n/view', scaled),
    Column('gflops_against', 'of the\nother', scaled),
    Column('not_finite'),
    Column('points', 'differ-\nence', decimals(2, '+'), attrgetter('difference.points')),
    Column(
        '',
        '95 %\ninterval',
        intervals,
        lambda one: _if_enough(one, (one.difference.low, one.difference.high)),
    ),
    Column('', '\np', probabilities, lambda one: _if_enough(one, one.difference.p_value)),
    *(column.of(attrgetter('difference')) for column in columns_of(['low', 'high', 'p_value'])),
)


def compare_families(folder: Path, family: str) -> list[Versus]:
    """Compare every variant of other families with the one of ``family`` nearest in cost.

    Args:
        folder: that tools/test.py wrote.
        family: e.g. 'sta'; its variants are single ones, not draws.

    Raises:
        DataError: the folder is none, or no variant or only draws are of that family.
    """
    evaluation = load(folder)
    rows = [row for row in evaluation.shown if row.pruner]
    own = [row for row in rows if row.pruner == family]
    families = ', '.join(dict.fromkeys(row.pruner for row in rows))
    if not own:
        raise DataError(f'{folder} holds no variant of {family!r}; there are {families or "none"}')
    if any(row.averages for row in own):
        raise DataError(f'{family!r} was drawn with several seeds: compare with one of {families}')
    others = [row for row in rows if row.pruner != family]
    if not others:
        raise DataError(f'{folder} holds nothing but {family!r} to compare')
    return [_versus(evaluation, row, own) for row in others]


def versus_table(found: Sequence[Versus], *, family: str) -> Table[Versus]:
    """A line per variant."""
    videos = counted(found[0].num_videos, 'video')
    note = NOTE.format(family=family, videos=videos)
    if failed := [f'{one.name} {one.not_finite}' for one in found if one.not_finite]:
        note += (
            f' SCORES NOT FINITE, counted as wrong, of the variant or the reference: '
            f'{", ".join(failed)} of {videos}.'
        )
    return Table(COLUMNS, found, f'Top-1 against {family} at nearest cost', note)


def _versus(evaluation: Evaluation, row: SummaryRow, own: Sequence[SummaryRow]) -> Versus:
    """A row against the one of ``own`` that costs nearest to it."""
    near = min(own, key=lambda one: abs(one.gflops_per_view - row.gflops_per_view))
    scores = evaluation.scores
    return Versus(
        row.name,
        near.name,
        row.gflops_per_view,
        near.gflops_per_view,
        int((_failed(scores, near) | _failed(scores, row)).sum()),
        paired_change(_correct(scores, near)[0], _correct(scores, row)),
        len(scores.labels),
    )


def _correct(scores: Scores, row: SummaryRow) -> np.ndarray:
    """(draws, videos) bool of a row's variants."""
    return np.stack([top_k_correct(own, scores.labels, 1) for own in _draws(scores, row)])


def _failed(scores: Scores, row: SummaryRow) -> np.ndarray:
    """(videos,) bool, where scores of one of a row's variants are not finite."""
    whole: np.ndarray = np.all([all_finite(own) for own in _draws(scores, row)], axis=0)
    return ~whole


def _draws(scores: Scores, row: SummaryRow) -> list[np.ndarray]:
    """(videos, classes) of each of a row's variants."""
    names = row.averages or [row.name]
    missing = [name for name in names if name not in scores.variants]
    if missing:
        raise DataError(f'results.json and scores.npz disagree: no scores of {missing[0]!r}')
    return [scores.scores[scores.variants.index(name)] for name in names]
