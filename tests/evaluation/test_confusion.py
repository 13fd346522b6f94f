"""Predictions and confusions against values worked by hand and a slow count."""

from __future__ import annotations

import numpy as np
import pytest

from sta.evaluation import Confusion, confusions_by_growth, top_k_correct
from sta.evaluation.statistics import NO_CLASS, confusion_matrix, predicted_classes

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize(
    'scores, expected',
    [
        ([0.1, 0.6, 0.3], 1),
        ([0.4, 0.2, 0.4], 0),
        ([0.2, 0.4, 0.4], 1),
        ([0.5, 0.5, 0.5], 0),
        ([-0.0, 0.0, -1.0], 0),
        ([0.1, INF, 0.2], NO_CLASS),
        ([0.1, 0.2, -INF], NO_CLASS),
        ([NAN, 0.9, 0.1], NO_CLASS),
        ([0.9, NAN, 0.1], NO_CLASS),
        ([NAN, NAN, NAN], NO_CLASS),
    ],
)
def test_predictions_worked_by_hand(scores, expected) -> None:
    assert predicted_classes(np.array([scores])).tolist() == [expected]


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_the_prediction_is_right_exactly_where_top_1_is(dtype) -> None:
    """With ties, infinities and NaN, and for every class a label could name."""
    random = np.random.default_rng(0)
    values = np.array([0.0, -0.0, 0.25, 0.5, 0.5, NAN, INF, -INF])
    scores = random.choice(values, p=[0.1, 0.1, 0.2, 0.25, 0.2, 0.05, 0.05, 0.05], size=(500, 5))
    scores = scores.astype(dtype)
    predicted = predicted_classes(scores)
    for label in range(5):
        labels = np.full(500, label)
        assert ((predicted == label) == top_k_correct(scores, labels, 1)).all()
    assert (predicted == NO_CLASS).any()


def test_matrix_worked_by_hand() -> None:
    labels = np.array([0, 0, 0, 2, 2])
    predicted = np.array([0, 2, 2, 1, NO_CLASS])
    assert confusion_matrix(predicted, labels, 3).tolist() == [[1, 0, 2], [0, 0, 0], [0, 1, 0]]


def test_matrix_agrees_with_a_slow_count() -> None:
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, 7, 300), random.integers(-1, 7, 300)
    expected = [
        [sum(1 for t, p in zip(labels, predicted) if (t, p) == (i, j)) for j in range(7)]
        for i in range(7)
    ]
    assert confusion_matrix(predicted, labels, 7).tolist() == expected


def test_no_videos() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert confusion_matrix(predicted_classes(np.zeros((0, 2))), none, 2).tolist() == [[0, 0]] * 2


def test_confusions_are_ordered_by_growth() -> None:
    before = np.array([[9, 1, 4], [0, 9, 2], [0, 3, 9]])
    after = np.array([[5, 3, 6], [0, 9, 1], [2, 3, 7]])
    assert confusions_by_growth(before, after) == [
        Confusion(0, 2, 4, 6),  # of growth 2 the one that is now most frequent
        Confusion(0, 1, 1, 3),
        Confusion(2, 0, 0, 2),
        Confusion(2, 1, 3, 3),
        Confusion(1, 2, 2, 1),
    ]


def test_equal_confusions_are_ordered_by_class() -> None:
    before, after = np.zeros((3, 3), dtype=int), np.ones((3, 3), dtype=int)
    pairs = [(c.true, c.predicted) for c in confusions_by_growth(before, after)]
    assert pairs == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]


def test_what_is_right_is_no_confusion() -> None:
    assert confusions_by_growth(np.eye(3, dtype=int), 5 * np.eye(3, dtype=int)) == []
