"""Saliency-aware merging against plain Python numbers, and sharpness against explicit attention."""

from __future__ import annotations

import math

import pytest
import torch

from sta.models.vit import sharpness
from sta.pruning import PruningStage, SaliencyMergePruner, ToMeMergePruner
from sta.pruning.tome import saliency
from tests.models.small_vit import clips, small_vit
from tests.pruning.inputs import random_stage, stage_context
from tests.pruning.reference import dot, unit


def slow_saliency(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    scaled = [0.0 if high == low else (value - low) / (high - low) for value in values]
    mean = math.fsum(scaled) / len(scaled)
    return [value if value >= mean else 0.0 for value in scaled]


def weighted_mean(members: list[dict], name: str, weigh: str) -> list[float]:
    total = sum(member[weigh] for member in members)
    columns = zip(*(member[name] for member in members))
    return [
        sum(member[weigh] * value for member, value in zip(members, column)) / total
        for column in columns
    ]


def slow_merge(tokens, keys, sharp, num_merge):
    """One clip: surviving (index, token, size), merged in rounds of at most half the tokens."""
    salient = slow_saliency(sharp)
    groups = [
        dict(index=i, token=t, key=k, mass=s, size=1.0)
        for i, (t, k, s) in enumerate(zip(tokens, keys, salient))
    ]
    while num_merge:
        now = min(num_merge, len(groups) // 2)
        units = [unit(group['key']) for group in groups]
        best = []
        for a in range(0, len(groups), 2):
            likeness = [(-dot(units[a], units[b]), b) for b in range(1, len(groups), 2)]
            best.append((min(likeness), a))
        going = {a: partner for (_, partner), a in sorted(best)[:now]}
        left = []
        for place, group in enumerate(groups):
            if place in going:
                continue
            members = [group] + [groups[a] for a, b in going.items() if b == place]
            weigh = 'mass' if sum(member['mass'] for member in members) > 0 else 'size'
            left.append(
                dict(
                    index=group['index'],
                    token=weighted_mean(members, 'token', weigh),
                    key=weighted_mean(members, 'key', weigh),
                    mass=sum(member['mass'] for member in members),
                    size=sum(member['size'] for member in members),
                )
            )
        groups, num_merge = left, num_merge - now
    return groups


@pytest.mark.parametrize('stage', [(4, 1), (2, 3), (1, 7), (1, 13)])
def test_stages_merge_as_a_slow_reference_does(stage) -> None:
    num_chunks, num_drop = stage
    tokens, features = random_stage(3, clips=3, length=16, width=6)
    pruned = SaliencyMergePruner()(
        tokens, features, PruningStage(0, num_chunks, num_drop), stage_context(3, 16)
    )
    for i in range(3):
        keys, sharp = features[i, :, :-1].tolist(), features[i, :, -1].tolist()
        expected = slow_merge(tokens[i].tolist(), keys, sharp, num_chunks * num_drop)
        assert pruned.kept[i].tolist() == [group['index'] for group in expected]
        torch.testing.assert_close(
            pruned.tokens[i], torch.tensor([group['token'] for group in expected])
        )
        assert pruned.sizes[i].tolist() == [group['size'] for group in expected]


def test_a_salient_token_outweighs_the_background_it_is_merged_with() -> None:
    """Two equal keys: token 0 is salient, token 1 is background; their mean is token 0."""
    tokens = torch.tensor([[[8.0], [-5.0], [1.0], [2.0]]])
    features = torch.tensor([[[1.0, 0, 1.0], [1, 0, 0], [0, 1, 0], [-1, 0, 0]]])
    pruned = SaliencyMergePruner()(tokens, features, PruningStage(0, 1, 1), stage_context(1, 4))
    assert pruned.kept.tolist() == [[1, 2, 3]]
    assert pruned.tokens.tolist() == [[[8.0], [1.0], [2.0]]]
    assert pruned.sizes.tolist() == [[2.0, 1.0, 1.0]]


def test_where_all_attend_alike_it_is_tome() -> None:
    tokens, features = random_stage(5, clips=2, length=12, width=6)
    features[..., -1] = -1.0
    stage, context = PruningStage(0, 2, 2), stage_context(2, 12)
    found = SaliencyMergePruner()(tokens, features, stage, context)
    expected = ToMeMergePruner()(tokens, features[..., :-1], stage, context)
    assert torch.equal(found.kept, expected.kept) and torch.equal(found.sizes, expected.sizes)
    torch.testing.assert_close(found.tokens, expected.tokens)


def test_saliency_by_hand() -> None:
    """Scaled: 0, 0.25, 0.5, 1; their mean is 0.4375."""
    found = saliency(torch.tensor([[-4.0, -3.0, -2.0, 0.0], [-2.0, -2.0, -2.0, -2.0]]))
    assert found.tolist() == [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]]


def test_sharpness_is_the_negative_entropy_of_mean_attention() -> None:
    query, key = (
        torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(i)) for i in (0, 1)
    )
    found = sharpness(query, key, 0.5)
    for b in range(2):
        for i in range(5):
            mean = [0.0] * 5
            for h in range(3):
                weights = [
                    math.exp(0.5 * dot(query[b, h, i].tolist(), key[b, h, j].tolist()))
                    for j in range(5)
                ]
                mean = [m + w / sum(weights) / 3 for m, w in zip(mean, weights)]
            expected = sum(m * math.log(m) for m in mean)
            assert found[b, i, 0].item() == pytest.approx(expected, abs=1e-5)


def test_sharpness_of_even_and_of_pointed_attention() -> None:
    even = sharpness(torch.zeros(1, 2, 7, 3), torch.randn(1, 2, 7, 3), 1.0)
    assert even.flatten().tolist() == pytest.approx([-math.log(7)] * 7, abs=1e-5)
    pointed = sharpness(torch.eye(4)[None, None] * 1e4, torch.eye(4)[None, None], 1.0)
    assert pointed.flatten().tolist() == [0.0] * 4


def test_gradients_pass_through_the_kept_tokens_without_a_nan() -> None:
    """Sources without mass are divided by nothing on the way."""
    model = small_vit(schedule=6, pruner=dict(type='SaliencyMergePruner'))
    x = clips(2).requires_grad_()
    model(x).sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
