"""Trajectory sum: by hand, and against keys taken from the projections, token by token."""

from __future__ import annotations

import math

import pytest
import torch

from sta.analysis.places import trajectory_sum, trajectory_sum_of
from sta.pruning import Variant

from .recognizers import clip_of, swin, vit

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]


def test_by_hand() -> None:
    """Last frame EAST and NORTH; best of frame 0: 1 and 0, of frame 1: 0 and 1 -> (1 + 1) / 2."""
    keys = torch.tensor([[EAST, WEST, NORTH, WEST, EAST, NORTH]])
    frames = torch.tensor([[0, 0, 1, 1, 2, 2]])
    assert trajectory_sum(keys, frames, 3).tolist() == [1.0]
    only_east = trajectory_sum(keys[:, :5], frames[:, :5], 3)
    assert only_east.tolist() == [1.0]  # 1 in frame 0, 0 in frame 1
    assert trajectory_sum(keys[:, [1, 2, 4]], frames[:, [1, 2, 4]], 3).tolist() == [-1.0]


def test_order_does_not_matter_and_equal_frames_reach_the_maximum() -> None:
    keys = torch.tensor([[EAST, NORTH] * 4])
    frames = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3]])
    mixed = torch.tensor([5, 0, 7, 3, 2, 6, 1, 4])
    assert trajectory_sum(keys, frames, 4).tolist() == [3.0]
    assert trajectory_sum(keys[:, mixed], frames[:, mixed], 4).tolist() == [3.0]


def test_frames_without_tokens() -> None:
    keys = torch.tensor([[EAST, EAST, NORTH]])
    assert trajectory_sum(keys, torch.tensor([[0, 3, 3]]), 4).tolist() == [0.5]
    assert trajectory_sum(keys, torch.tensor([[0, 1, 2]]), 4).isnan().all()


def slow_sum(keys: list[list[float]], frames: list[int], num_frames: int) -> float:
    """One clip, one token and one frame at a time."""

    def cosine(a: list[float], b: list[float]) -> float:
        return math.fsum(x * y for x, y in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))

    last = [key for key, frame in zip(keys, frames) if frame == num_frames - 1]
    sums = []
    for mine in last:
        best = []
        for earlier in range(num_frames - 1):
            likes = [cosine(mine, key) for key, frame in zip(keys, frames) if frame == earlier]
            best.append(max(likes) if likes else 0.0)
        sums.append(math.fsum(best))
    return math.fsum(sums) / len(sums)


@pytest.mark.parametrize('drop', [0, 1])
@pytest.mark.parametrize('number', [-1, 1])
def test_vit_from_its_projections(drop: int, number: int) -> None:
    backbone, clips = vit(schedule=drop).backbone, clip_of(2, 3, 8, 16, 16).float()
    block, entered = backbone.blocks[number], []
    handle = block.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    _, kept = backbone(clips, return_kept=True)
    handle.remove()
    weight = block.attn.qkv.weight[8:16]  # queries, keys, values
    for b in range(2):
        places = list(range(16))
        for stage in kept[: number % 3]:
            places = [places[i] for i in stage[b].tolist()]
        keys = block.norm1(entered[0][b]) @ weight.t()
        keys = keys.view(-1, 2, 4).mean(1).tolist()
        expected = slow_sum(keys, [place // 4 for place in places], 4)
        found = trajectory_sum_of(backbone, clips, block=number)
        assert float(found[b]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('drops', [None, [3, 1]])
def test_swin_from_its_projections(drops: list[int] | None) -> None:
    backbone, clip = swin(schedule=drops).backbone, clip_of(1, 3, 4, 20, 24).float()
    block, entered = backbone.layers[-1].blocks[-1], []
    handle = block.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    kept = backbone(clip, return_kept=True)[1]
    handle.remove()
    places = kept[-1][0].tolist() if drops else list(range(8))
    qkv = block.attn.qkv
    keys = block.norm1(entered[0][0]) @ qkv.weight[16:32].t() + qkv.bias[16:32]
    keys = keys.view(-1, 2, 8).mean(1).tolist()
    expected = slow_sum(keys, [place // 4 for place in places], 2)
    assert float(trajectory_sum_of(backbone, clip)) == pytest.approx(expected, abs=1e-5)


def test_nothing_is_left_behind_and_merging_is_refused() -> None:
    backbone, clip = vit(schedule=1).backbone, clip_of(1, 3, 8, 16, 16).float()
    before = backbone(clip)
    trajectory_sum_of(backbone, clip)
    assert not any(module._forward_pre_hooks for module in backbone.modules())
    assert torch.equal(backbone(clip), before)
    with backbone.using(Variant('merge', {'type': 'ToMeMergePruner'}, 1)):
        with pytest.raises(ValueError, match='ToMeMergePruner merges'):
            trajectory_sum_of(backbone, clip)


def test_dropping_at_the_input_has_no_stages_to_look_behind() -> None:
    backbone, clip = vit().backbone, clip_of(1, 3, 8, 16, 16).float()
    with backbone.using(Variant('rlt', {'type': 'RunLengthPruner'}, None)):
        with pytest.raises(ValueError, match='RunLengthPruner drops at the input'):
            trajectory_sum_of(backbone, clip)
