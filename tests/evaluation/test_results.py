"""Summary rows against values worked by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sta.evaluation import (
    Cost,
    EvaluationResult,
    NotFinite,
    VariantResult,
    shown_rows,
    standard_error,
    summarise,
)
from sta.pruning import Variant

LABELS = np.array([0, 1, 2, 3])


def scores_with(num_correct: int) -> np.ndarray:
    """Four videos, four classes; the first ``num_correct`` are right, the others off by one."""
    winners = np.where(np.arange(4) < num_correct, LABELS, (LABELS + 1) % 4)
    return np.eye(4, dtype=np.float32)[winners]


def variant(name: str, family: str, after: tuple[int, ...], gflops: float, num_correct: int):
    cost = Cost(100, after, gflops, 1000)
    label = name.rpartition('-')[2] if family else ''
    return VariantResult(
        Variant(name, family=family, label=label), cost, scores_with(num_correct), 12.5
    )


UNPRUNED = variant('unpruned', '', (), 8.0, 3)
HALF = variant('sta-5', 'sta', (80, 60, 50), 3.0, 2)
BETTER = variant('tome-5', 'tome', (75, 50), 4.0, 4)


def evaluation(*variants: VariantResult, views: int = 3) -> EvaluationResult:
    names = ('a.mp4', 'b.mp4', 'c.mp4', 'd.mp4')
    return EvaluationResult(variants, LABELS, names, views, 'a CPU', 'fp32', 10.0, 0.25)


@pytest.mark.parametrize('after, kept', [((), 100), ((90,), 90), ((90, 70, 40), 40)])
def test_tokens_kept_are_those_after_the_last_stage(after, kept) -> None:
    assert Cost(100, after, 1.0, 1).tokens_kept == kept


def test_a_row_worked_by_hand() -> None:
    row = summarise(evaluation(UNPRUNED, HALF))[1]
    assert dataclasses.asdict(row) == {
        'name': 'sta-5',
        'pruner': 'sta',
        'tokens_kept': 50,
        'tokens_after_stages': (80, 60, 50),
        'gflops_per_view': 3.0,
        'gflops_per_video': 9.0,
        'reduction_percent': 62.5,
        'top1_percent': 50.0,
        'top5_percent': 100.0,  # there are only four classes
        'top1_change': -25.0,
        'clips_per_s': 12.5,
        'label': '5',
        # a resample of four loses Binomial(4, 1/4): at most 2 with P = 0.949, at most 3 with 0.996
        'top1_change_low': -75.0,
        'top1_change_high': 0.0,
        'p_value': 1.0,
        'averages': (),
        'top1_spread': None,
        'cost_is_average': False,
        'num_videos': 4,
        'not_finite': 0,
    }


def test_the_unpruned_variant_is_its_own_reference() -> None:
    row = summarise(evaluation(UNPRUNED))[0]
    assert (row.reduction_percent, row.top1_change, row.top1_percent) == (0.0, 0.0, 75.0)
    assert (row.tokens_kept, row.tokens_after_stages) == (100, ())


def test_rows_keep_the_order_and_the_reference_may_come_last() -> None:
    rows = summarise(evaluation(HALF, BETTER, UNPRUNED))
    assert [row.name for row in rows] == ['sta-5', 'tome-5', 'unpruned']
    assert [row.top1_change for row in rows] == [-25.0, 25.0, 0.0]
    assert [row.reduction_percent for row in rows] == [62.5, 50.0, 0.0]


def test_without_an_unpruned_variant_changes_are_unknown() -> None:
    for row in summarise(evaluation(HALF, BETTER)):
        assert row.reduction_percent is None
        assert row.top1_change is None
        assert (row.top1_change_low, row.top1_change_high, row.p_value) == (None, None, None)


def test_savings_need_no_accuracy_without_pruning() -> None:
    found = dataclasses.replace(evaluation(HALF, BETTER), unpruned_gflops=8.0)
    assert [row.reduction_percent for row in summarise(found)] == [62.5, 50.0]
    assert [row.top1_change for row in summarise(found)] == [None, None]


def test_scores_that_are_not_finite_are_wrong_and_counted() -> None:
    """Of three right ones one is lost to a NaN, one to an infinity, a wrong one stays wrong."""
    scores = HALF.scores.astype(float)
    right = np.flatnonzero(scores.argmax(1) == LABELS)
    broken = dataclasses.replace(UNPRUNED, scores=UNPRUNED.scores.astype(float))
    broken.scores[0, (LABELS[0] + 1) % 4] = np.nan
    broken.scores[1, LABELS[1]] = np.inf
    found = evaluation(broken, HALF)
    first, second = summarise(found)
    assert len(right) == 2 and (second.top1_percent, second.not_finite) == (50.0, 0)
    assert (first.top1_percent, first.top5_percent, first.not_finite) == (25.0, 50.0, 2)
    assert found.not_finite == (
        NotFinite('a.mp4', int(LABELS[0]), ('unpruned',)),
        NotFinite('b.mp4', int(LABELS[1]), ('unpruned',)),
    )


@pytest.mark.parametrize('after', [(), (100,), (100, 100, 100)])
def test_stages_that_drop_nothing_are_no_pruning(after) -> None:
    rows = summarise(evaluation(HALF, variant('whole', '', after, 6.0, 4)))
    assert [row.top1_change for row in rows] == [-50.0, 0.0]
    assert [row.reduction_percent for row in rows] == [50.0, 0.0]


def test_a_dearer_variant_saves_less_than_nothing() -> None:
    rows = summarise(evaluation(UNPRUNED, variant('slow', 'slow', (99,), 10.0, 3)))
    assert rows[1].reduction_percent == -25.0


def test_views_multiply_the_cost_of_a_video_only() -> None:
    one, fifteen = (summarise(evaluation(UNPRUNED, HALF, views=v)) for v in (1, 15))
    assert [row.gflops_per_video for row in one] == [8.0, 3.0]
    assert [row.gflops_per_video for row in fifteen] == [120.0, 45.0]
    same = [dataclasses.replace(row, gflops_per_video=0.0) for row in one]
    assert same == [dataclasses.replace(row, gflops_per_video=0.0) for row in fifteen]


def test_top5_with_more_than_five_classes() -> None:
    scores = np.tile(np.linspace(1.0, 0.0, 8, dtype=np.float32), (4, 1))  # class i ranks i-th
    cost = Cost(100, (), 1.0, 1)
    result = dataclasses.replace(
        evaluation(VariantResult(Variant('unpruned'), cost, scores, 1.0)),
        labels=np.array([0, 4, 5, 7]),
    )
    row = summarise(result)[0]
    assert (row.top1_percent, row.top5_percent) == (25.0, 50.0)


@pytest.mark.parametrize('percent, videos, expected', [(50, 100, 5), (90, 900, 1), (100, 10, 0)])
def test_standard_error_by_hand(percent, videos, expected) -> None:
    assert standard_error(percent, videos) == pytest.approx(expected)


def drawn(seed: int | None, num_correct: int, label: str = '5', **settings) -> VariantResult:
    """One draw of a random pruner."""
    seeded = {} if seed is None else {'seed': seed}
    named = Variant(f'random[{seed}]-{label}', {**seeded, **settings}, 5, 'random', label)
    cost = Cost(100, (80, 50), 4.0, 1000)
    return VariantResult(named, cost, scores_with(num_correct), 10.0 + num_correct)


def test_a_mean_over_seeds_worked_by_hand() -> None:
    """3 of 4 right before, 1, 2 and 3 of 4 right under three seeds."""
    rows = summarise(evaluation(UNPRUNED, drawn(0, 1), drawn(1, 2), drawn(2, 3), HALF))
    assert [row.name for row in rows] == [
        'unpruned',
        'random-5 (3 seeds)',
        'random[0]-5',
        'random[1]-5',
        'random[2]-5',
        'sta-5',
    ]
    mean = rows[1]
    assert (mean.top1_percent, mean.top1_change, mean.top1_spread) == (50.0, -25.0, 25.0)
    assert (mean.clips_per_s, mean.gflops_per_view, mean.reduction_percent) == (12.0, 4.0, 50.0)
    assert mean.averages == ('random[0]-5', 'random[1]-5', 'random[2]-5')
    assert mean.p_value is None
    # per video 0, 1/3, 2/3 and 0 of the seeds lost it: the mean of four such draws
    assert -200 / 3 <= mean.top1_change_low < -25.0 < mean.top1_change_high <= 0.0
    assert [row.name for row in shown_rows(rows)] == ['unpruned', 'random-5 (3 seeds)', 'sta-5']


def test_only_draws_of_one_pruner_at_one_schedule_are_averaged() -> None:
    rows = summarise(
        evaluation(
            UNPRUNED,
            drawn(0, 1),
            drawn(1, 1, '8'),
            drawn(2, 1, '9', first_frame='grid'),
            drawn(3, 1, '9', first_frame='random'),
        )
    )
    assert shown_rows(rows) == rows


def test_the_default_seed_is_one_of_the_seeds_and_counts_once() -> None:
    """No seed means seed 0."""
    rows = summarise(evaluation(drawn(None, 2), drawn(0, 2), drawn(1, 3)))
    assert rows[0].averages == ('random[None]-5', 'random[1]-5')
    assert rows[0].top1_change is None and rows[0].top1_change_low is None
