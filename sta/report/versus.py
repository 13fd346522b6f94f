"""One pruner against the others at nearest cost, over the same videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from sta.errors import DataError
from sta.evaluation import (
    FEWEST_VIDEOS,
    PairedChange,
    all_finite,
    paired_change,
    top_k_correct,
)

from .columns import TOO_FEW, counted, fixed, intervals, probabilities, scaled
from .console import table_of_texts
from .results_folder import read_rows, read_run
from .writers import Scores

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
    """

    name: str
    against: str
    gflops: float
    gflops_against: float
    not_finite: int
    difference: PairedChange


def compare_families(folder: Path, family: str) -> list[Versus]:
    """Compare every variant of other families with the one of ``family`` nearest in cost.

    Args:
        folder: that tools/test.py wrote.
        family: e.g. 'sta'; its variants are single ones, not draws.

    Raises:
        DataError: the folder is none, or no variant or only draws are of that family.
    """
    scores = read_run(folder).scores
    rows = [row for row in read_rows(folder) if row.get('pruner')]
    members = {name for row in rows for name in row.get('averages') or ()}
    rows = [row for row in rows if row['name'] not in members]
    own = [row for row in rows if row['pruner'] == family]
    families = ', '.join(dict.fromkeys(row['pruner'] for row in rows))
    if not own:
        raise DataError(f'{folder} holds no variant of {family!r}; there are {families or "none"}')
    if any(row.get('averages') for row in own):
        raise DataError(f'{family!r} was drawn with several seeds: compare with one of {families}')
    found = []
    for row in rows:
        if row['pruner'] == family:
            continue
        near = min(own, key=lambda one: abs(one['gflops_per_view'] - row['gflops_per_view']))
        found.append(
            Versus(
                row['name'],
                near['name'],
                row['gflops_per_view'],
                near['gflops_per_view'],
                int((_failed(scores, near) | _failed(scores, row)).sum()),
                paired_change(_correct(scores, near)[0], _correct(scores, row)),
            )
        )
    if not found:
        raise DataError(f'{folder} holds nothing but {family!r} to compare')
    return found


def versus_table(found: Sequence[Versus], *, family: str, num_videos: int) -> Table:
    """A line per variant."""
    columns = {
        'against': [one.against for one in found],
        'GFLOPs\n/view': scaled([one.gflops for one in found]),
        'of the\nother': scaled([one.gflops_against for one in found]),
        'differ-\nence': fixed([one.difference.points for one in found], 2, '+'),
        '95 %\ninterval': intervals([(one.difference.low, one.difference.high) for one in found]),
        '\np': probabilities([one.difference.p_value for one in found]),
    }
    if num_videos < FEWEST_VIDEOS:
        columns |= dict.fromkeys(('95 %\ninterval', '\np'), [TOO_FEW] * len(found))
    note = NOTE.format(family=family, videos=counted(num_videos, 'video'))
    if failed := [f'{one.name} {one.not_finite}' for one in found if one.not_finite]:
        note += (
            f' SCORES NOT FINITE, counted as wrong, of the variant or the reference: '
            f'{", ".join(failed)} of {counted(num_videos, "video")}.'
        )
    title = f'Top-1 against {family} at nearest cost'
    names = [one.name for one in found]
    return table_of_texts('variant', names, list(columns), list(columns.values()), title, note)


def _correct(scores: Scores, row: dict[str, Any]) -> np.ndarray:
    """(draws, videos) bool of a row's variants."""
    return np.stack([top_k_correct(own, scores.labels, 1) for own in _draws(scores, row)])


def _failed(scores: Scores, row: dict[str, Any]) -> np.ndarray:
    """(videos,) bool, where scores of one of a row's variants are not finite."""
    return ~np.all([all_finite(own) for own in _draws(scores, row)], axis=0)


def _draws(scores: Scores, row: dict[str, Any]) -> list[np.ndarray]:
    """(videos, classes) of each of a row's variants."""
    names = row.get('averages') or [row['name']]
    missing = [name for name in names if name not in scores.variants]
    if missing:
        raise DataError(f'results.json and scores.npz disagree: no scores of {missing[0]!r}')
    return [scores.scores[scores.variants.index(name)] for name in names]
