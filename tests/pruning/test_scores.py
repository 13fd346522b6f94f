"""The equations one by one, against plain numbers; and what each score must not depend on."""

from __future__ import annotations

import pytest
import torch

from sta.pruning import prune_stage, sta
from tests.pruning import reference
from tests.pruning.inputs import random_stage


def test_importance_by_hand() -> None:
    """|x| summed over channels: 3, 5, 1, 2; minus 1, over 4."""
    chunk = torch.tensor([[1.0, -2.0], [-5.0, 0.0], [0.5, 0.5], [-1.0, -1.0]])
    assert sta.semantic_importance(chunk).tolist() == [0.5, 1.0, 0.0, 0.25]


def test_importance_is_scaled_per_chunk() -> None:
    tokens, _ = random_stage(0, clips=2, length=3 * 7)
    chunks = tokens.reshape(2, 3, 7, 6)
    found = sta.semantic_importance(chunks)
    expected = [[reference.semantic_importance(c) for c in clip] for clip in chunks.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert found.amin(-1).eq(0).all() and found.amax(-1).eq(1).all()


@pytest.mark.parametrize('value', [0.0, 0.1, -3.0, 1e-30, 60000.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_importance_of_equal_tokens_is_nought(value, dtype) -> None:
    found = sta.semantic_importance(torch.full((2, 5, 33), value, dtype=dtype))
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.0] * 5] * 2


def test_transition_by_hand() -> None:
    """Weights of the old tokens: (1, 3) and (2, 2); columns sum to one, rows need not."""
    similarity = torch.tensor([[[1.0, 2.0], [3.0, 2.0]]]).log()
    expected = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]])
    torch.testing.assert_close(sta.transition(similarity), expected)


def test_transition_equals_the_reference() -> None:
    _, keys = random_stage(1, clips=1, length=7 + 4)
    new, old = keys[:, :7], keys[:, 7:]
    found = sta.transition(sta.similarity_matrix(new, old))
    expected = torch.tensor([reference.transition(new[0].tolist(), old[0].tolist())])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 4))


def test_accumulation_by_hand() -> None:
    step = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]])
    found = sta.accumulate(step, torch.tensor([[0.8, 0.2]]))
    torch.testing.assert_close(found, torch.tensor([[0.3, 0.7]]))


def test_unit_keys_by_hand() -> None:
    keys = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]])
    torch.testing.assert_close(
        sta.normalise(keys), torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]])
    )


def test_half_precision_keys_get_unit_length_in_single() -> None:
    keys = random_stage(0, clips=1, length=9, width=33)[1].bfloat16()
    found = sta.normalise(keys)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(1, 9), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    'kind, expected', [('product', [0.5, 0.0]), ('temporal', [0.5, 2.0]), ('semantic', [1.0, 0.0])]
)
def test_pruning_score_by_hand(kind, expected) -> None:
    redundancy, importance = torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0, 1.0]])
    assert sta.pruning_score(redundancy, importance, kind).tolist() == [expected]


def kept_of(tokens, keys, score: str) -> torch.Tensor:
    return prune_stage(tokens, keys, num_chunks=4, num_drop=5, score=score)[1]


def test_temporal_looks_at_keys_only() -> None:
    tokens, keys = random_stage(1, clips=2, length=4 * 12)
    other = tokens.flip(1).square()
    assert torch.equal(kept_of(tokens, keys, 'temporal'), kept_of(other, keys, 'temporal'))
    assert not torch.equal(kept_of(tokens, keys, 'product'), kept_of(other, keys, 'product'))


def test_semantic_looks_at_tokens_only_after_the_first_chunk() -> None:
    tokens, keys = random_stage(1, clips=2, length=4 * 12)
    other = keys.flip(1) + 1
    found = kept_of(tokens, keys, 'semantic')[:, 7:]
    assert torch.equal(found, kept_of(tokens, other, 'semantic')[:, 7:])
    chunks = tokens.reshape(2, 4, 12, 6)[:, 1:].abs().sum(-1)
    ranked = chunks.argsort(dim=-1, descending=True)[..., :7] + 12 * torch.arange(1, 4)[:, None]
    assert torch.equal(found, ranked.reshape(2, 21))


@pytest.mark.parametrize('score', ['product', 'temporal', 'semantic'])
def test_signs_of_tokens_and_lengths_of_keys_do_not_matter(score) -> None:
    tokens, keys = random_stage(1, clips=2, length=4 * 12)
    lengths = torch.arange(1.0, 49.0)[:, None]
    assert torch.equal(kept_of(tokens, keys, score), kept_of(-tokens, keys * lengths, score))


@pytest.mark.parametrize('score', ['product', 'temporal', 'semantic'])
def test_chunks_may_differ_in_brightness(score) -> None:
    """Importance is scaled inside each chunk, so one chunk's level is nothing to another's."""
    tokens, keys = random_stage(1, clips=2, length=4 * 12)
    levels = torch.tensor([1.0, 50.0, 0.02, 3.0]).repeat_interleave(12)[:, None]
    assert torch.equal(kept_of(tokens, keys, score), kept_of(tokens * levels, keys, score))
