"""What a stage says it ranked its tokens by, against the slow reference and what it kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.pruning import PruningStage, STAPruner, prune_stage
from tests.pruning import reference
from tests.pruning.inputs import random_stage, stage_context

T, N, DROP = 4, 9, 3


def scored(**changed):
    tokens, keys = random_stage(3, clips=2, length=T * N)
    settings = {'num_chunks': T, 'num_drop': DROP, **changed}
    return tokens, keys, prune_stage(tokens, keys, return_scores=True, **settings)


def reference_redundancy(keys: torch.Tensor, kept: torch.Tensor, time: list[int]) -> np.ndarray:
    """A (T, N) of one clip by plain sums, given its kept places; NaN in the first chunk."""
    chunks = keys.double().view(T, N, -1).tolist()
    unit = [[reference.unit(key) for key in chunk] for chunk in chunks]
    places = kept.view(T, -1) % N
    redundancy = np.full((T, N), np.nan)
    before, handed = unit[time[0]], [1.0] * N
    for t in time[1:]:
        step = reference.transition(unit[t], before)
        redundancy[t] = [reference.dot(row, handed) for row in step]
        left = redundancy[t, places[t]]
        before, handed = [unit[t][i] for i in places[t]], (left / left.sum()).tolist()
    return redundancy


@pytest.mark.parametrize('backward', [False, True])
def test_scores_are_those_of_the_equations(backward: bool) -> None:
    tokens, keys, (_, kept, scores) = scored(backward=backward)
    time = list(range(T))[:: -1 if backward else 1]
    for b in range(2):
        expected = reference_redundancy(keys[b], kept[b], time)
        for t in range(T):
            chunk = tokens[b].view(T, N, -1)[t].double().tolist()
            importance = np.array(reference.semantic_importance(chunk))
            np.testing.assert_allclose(scores.importance[t, b], importance, atol=1e-6)
            if t == time[0]:
                assert scores.redundancy[t] is None and scores.ranked[t] is None
                continue
            np.testing.assert_allclose(scores.redundancy[t][b], expected[t], rtol=1e-5)
            product = expected[t] * (1 - importance)
            np.testing.assert_allclose(scores.ranked[t][b], product, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('score', ['product', 'temporal', 'semantic'])
def test_the_smallest_of_what_was_ranked_are_kept(score: str) -> None:
    _, _, (_, kept, scores) = scored(score=score)
    for t in range(1, T):
        places = kept.view(2, T, -1)[:, t] - t * N
        assert torch.equal(scores.ranked[t].argsort(dim=-1, stable=True)[:, : N - DROP], places)


def test_asking_for_scores_changes_nothing_else() -> None:
    tokens, keys, (left, kept, _) = scored()
    plain = prune_stage(tokens, keys, num_chunks=T, num_drop=DROP)
    assert len(plain) == 2
    assert torch.equal(plain[0], left) and torch.equal(plain[1], kept)


def test_a_stage_that_drops_nothing_has_no_scores() -> None:
    tokens, _, (left, kept, scores) = scored(num_drop=0)
    assert scores is None and left is tokens and kept.tolist() == [list(range(T * N))] * 2


def test_the_pruner_hands_its_scores_on() -> None:
    tokens, keys, (_, kept, scores) = scored()
    pruned = STAPruner()(tokens, keys, PruningStage(0, T, DROP), stage_context(2, T * N))
    assert torch.equal(pruned.kept, kept)
    assert torch.equal(pruned.scores.importance, scores.importance)
    for own, asked in zip(pruned.scores.ranked[1:], scores.ranked[1:]):
        assert torch.equal(own, asked)
