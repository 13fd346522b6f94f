"""Top-k accuracy against values worked by hand and against a sort."""

from __future__ import annotations

import numpy as np
import pytest

from sta.evaluation import top_k_correct

SCORES = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]], dtype=np.float32)
LABELS = np.array([1, 1, 0])


@pytest.mark.parametrize(
    'k, expected',
    [(1, [True, False, False]), (2, [True, False, False]), (3, [True, True, True])],
)
def test_hand_worked(k, expected) -> None:
    assert top_k_correct(SCORES, LABELS, k).tolist() == expected


def test_second_best_counts_from_two_on() -> None:
    found = [top_k_correct(SCORES, np.array([2, 2, 1]), k).tolist() for k in (1, 2)]
    assert found == [[False] * 3, [True] * 3]


@pytest.mark.parametrize('k', [3, 5, 1000])
def test_more_than_there_are_classes_is_always_right(k) -> None:
    assert top_k_correct(SCORES, LABELS, k).all()


def test_ties_go_to_the_lower_class() -> None:
    equal = np.full((4, 4), 0.25, dtype=np.float32)
    labels = np.arange(4)
    for k in range(1, 5):
        assert top_k_correct(equal, labels, k).tolist() == [label < k for label in range(4)]


def test_a_tie_below_the_label_does_not_matter() -> None:
    scores = np.array([[0.2, 0.6, 0.2], [0.4, 0.2, 0.4]])
    assert top_k_correct(scores, np.array([1, 0]), 1).tolist() == [True, True]
    assert top_k_correct(scores, np.array([2, 2]), 2).tolist() == [False, True]


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
@pytest.mark.parametrize('k', [1, 2, 5])
def test_agrees_with_a_stable_sort(k, dtype) -> None:
    random = np.random.default_rng(k)
    scores = random.integers(0, 6, size=(200, 8)).astype(dtype) / 8  # many ties
    labels = random.integers(0, 8, size=200)
    best = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    expected = [label in row for label, row in zip(labels, best)]
    assert top_k_correct(scores, labels, k).tolist() == expected


def test_no_videos() -> None:
    assert top_k_correct(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), 1).shape == (0,)


def test_scores_that_are_not_numbers_are_never_right() -> None:
    assert not top_k_correct(np.full((3, 4), np.nan), np.array([0, 1, 3]), 1).any()
