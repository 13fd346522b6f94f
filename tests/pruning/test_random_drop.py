"""Random, tube-random and merging pruners."""

from __future__ import annotations

import pytest
import torch

from sta.pruning import (
    PruningStage,
    RandomPruner,
    ToMeDropPruner,
    ToMeMergePruner,
    TubeRandomPruner,
)
from tests.pruning import reference_merge
from tests.pruning.inputs import random_stage, stage_context
from tests.pruning.reference import dot, unit

DRAWN = pytest.mark.parametrize('pruner_class', [RandomPruner, TubeRandomPruner])


def draw(pruner, stage: PruningStage, *, clips: int = 6, frame: int = 16, frames: int = 8, **facts):
    """Kept indices of a stage of `frames` whole frames of 4 x frame/4 places."""
    tokens, _ = random_stage(0, clips=clips, length=frame * frames)
    context = stage_context(clips, frame * frames, grid_size=(4, frame // 4), **facts)
    pruned = pruner(tokens, None, stage, context)
    assert torch.equal(pruned.tokens, tokens.gather(1, pruned.kept[..., None].expand(-1, -1, 6)))
    return pruned.kept


@DRAWN
@pytest.mark.parametrize('num_chunks, num_drop', [(8, 5), (8, 15), (4, 10), (2, 17), (1, 127)])
def test_every_chunk_loses_exactly_its_number(pruner_class, num_chunks, num_drop) -> None:
    kept = draw(pruner_class(), PruningStage(0, num_chunks, num_drop))
    per_chunk = 128 // num_chunks
    expected = torch.arange(num_chunks).repeat_interleave(per_chunk - num_drop)
    assert torch.equal(kept // per_chunk, expected.expand_as(kept))
    assert all(len(set(clip)) == len(clip) for clip in kept.tolist())


@DRAWN
def test_the_seed_the_clip_and_the_stage_decide_the_draw(pruner_class) -> None:
    stage = PruningStage(0, 8, 6)
    first = draw(pruner_class(seed=3), stage)
    assert torch.equal(first, draw(pruner_class(seed=3), stage))
    assert not torch.equal(first, draw(pruner_class(seed=4), stage))
    assert not torch.equal(first, draw(pruner_class(seed=3), stage, stage_index=1))
    assert len({tuple(clip) for clip in first.tolist()}) == 6
    moved = draw(pruner_class(seed=3), stage, clip_ids=[9, 5, 5, 0, 2**62, -1])
    assert torch.equal(moved[1], first[5]) and torch.equal(moved[2], first[5])
    assert torch.equal(moved[3], first[0])
    alone = draw(pruner_class(seed=3), stage, clips=1, clip_ids=[5])
    assert torch.equal(alone[0], first[5])


@DRAWN
def test_torch_seeds_and_draws_are_left_alone(pruner_class) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw(pruner_class(), PruningStage(0, 8, 6))
    torch.manual_seed(1)
    assert torch.equal(first, draw(pruner_class(), PruningStage(0, 8, 6)))
    torch.manual_seed(0)
    assert torch.equal(before, torch.get_rng_state())


@DRAWN
def test_every_place_is_kept_equally_often(pruner_class) -> None:
    """2000 clips keep 10 of 16 places: 1250 each, standard deviation 22."""
    kept = draw(pruner_class(), PruningStage(0, 1, 6), clips=2000, frames=1)
    counts = torch.bincount(kept.flatten(), minlength=16)
    assert (counts - 1250).abs().max() < 5 * 22


def test_random_chunks_are_independent() -> None:
    kept = draw(RandomPruner(), PruningStage(0, 8, 6)).reshape(6, 8, 10) % 16
    assert len({tuple(sorted(chunk)) for clip in kept.tolist() for chunk in clip}) > 40


@pytest.mark.parametrize(
    'num_chunks, num_drop, per_frame', [(8, 5, 5), (4, 10, 5), (2, 20, 5), (1, 8, 1)]
)
def test_tubes_drop_the_same_places_of_every_frame(num_chunks, num_drop, per_frame) -> None:
    kept = draw(TubeRandomPruner(), PruningStage(0, num_chunks, num_drop))
    for clip in kept.tolist():
        frames = [sorted(i % 16 for i in clip if i // 16 == frame) for frame in range(8)]
        assert frames == [frames[0]] * 8
        assert len(frames[0]) == 16 - per_frame


def test_tubes_of_a_pruned_clip_stay_tubes() -> None:
    """Second stage: two frames per chunk, of which six places each are gone already."""
    left = torch.tensor([0, 1, 2, 5, 7, 8, 11, 12, 13, 15])
    tokens, _ = random_stage(0, clips=2, length=80)
    context = stage_context(2, 80, grid_size=(4, 4), positions=left.repeat(8).expand(2, 80))
    kept = TubeRandomPruner()(tokens, None, PruningStage(4, 4, 6, True), context).kept
    for clip in kept.tolist():
        frames = [sorted(i % 10 for i in clip if i // 10 == frame) for frame in range(8)]
        assert frames == [frames[0]] * 8 and len(frames[0]) == 7


def merge(tokens, keys, stage: PruningStage, sizes=None):
    context = stage_context(len(tokens), tokens.shape[1], sizes=sizes)
    return ToMeMergePruner()(tokens, keys, stage, context)


@pytest.mark.parametrize(
    'length, num_chunks, num_drop',
    [
        (16, 4, 1),
        (16, 4, 2),
        (24, 2, 5),
        (15, 3, 2),
        (16, 1, 12),
        (32, 4, 7),
        (16, 1, 15),
        (32, 2, 13),
    ],
)
@pytest.mark.parametrize('sized', [False, True])
def test_merging_equals_the_reference(length, num_chunks, num_drop, sized) -> None:
    tokens, keys = random_stage(length, clips=3, length=length)
    sizes = torch.arange(3 * length).reshape(3, length).remainder(4).add(1.0) if sized else None
    found = merge(tokens, keys, PruningStage(0, num_chunks, num_drop), sizes)
    expected = reference_merge.merge_stage(
        tokens.numpy(),
        keys.numpy(),
        num_merge=num_chunks * num_drop,
        sizes=None if sizes is None else sizes.numpy(),
    )
    assert found.kept.tolist() == expected.kept.tolist()
    assert found.sizes.tolist() == expected.sizes.tolist()
    torch.testing.assert_close(found.tokens, torch.from_numpy(expected.tokens).float())


def test_merging_by_hand() -> None:
    """Keys on the circle: a = 0, 2, 4 at 0, 90, 175 degrees, b = 1, 3, 5 at 10, 170, 181 degrees.

    Nearest b: 0 -> 1 (10 apart), 2 -> 1 and 3 (80 apart, 1 by position), 4 -> 3 (5 apart).
    Two merge: 4 into 3, 0 into 1.
    """
    angle = torch.deg2rad(torch.tensor([0.0, 10.0, 90.0, 170.0, 175.0, 181.0]))
    keys = torch.stack([angle.cos(), angle.sin()], dim=-1)[None]
    tokens = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [6.0], [5.0]]])
    found = merge(tokens, keys, PruningStage(0, 2, 1))
    assert found.kept.tolist() == [[1, 2, 3, 5]]
    assert found.tokens.flatten().tolist() == [1.5, 3.0, 5.0, 5.0]
    assert found.sizes.tolist() == [[2.0, 1.0, 2.0, 1.0]]


def test_merging_weighs_by_size() -> None:
    """One pair: sizes 3 and 1, values 2 and 6: (3 * 2 + 6) / 4."""
    tokens, sizes = torch.tensor([[[2.0], [6.0]]]), torch.tensor([[3.0, 1.0]])
    found = merge(tokens, tokens, PruningStage(0, 1, 1), sizes)
    assert found.tokens.tolist() == [[[3.0]]]
    assert found.sizes.tolist() == [[4.0]] and found.kept.tolist() == [[1]]


@pytest.mark.parametrize('num_drop', [1, 5, 8, 13, 15])
def test_merging_loses_nothing_of_the_mean(num_drop) -> None:
    tokens, keys = random_stage(2, clips=2, length=4 * 16)
    found = merge(tokens, keys, PruningStage(0, 4, num_drop))
    assert found.tokens.shape[1] == 4 * (16 - num_drop)
    assert found.sizes.sum(1).tolist() == [64.0, 64.0]
    pooled = (found.tokens * found.sizes[..., None]).sum(1) / 64
    torch.testing.assert_close(pooled, tokens.mean(1))
    assert (found.kept.diff(dim=1) > 0).all()


def test_merging_a_clip_alone_and_in_a_batch() -> None:
    tokens, keys = random_stage(2, clips=4, length=64)
    found = merge(tokens, keys, PruningStage(0, 4, 6))
    for clip in range(4):
        alone = merge(tokens[clip : clip + 1], keys[clip : clip + 1], PruningStage(0, 4, 6))
        assert torch.equal(alone.kept[0], found.kept[clip])
        torch.testing.assert_close(alone.tokens[0], found.tokens[clip])


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_merging_a_constant_clip(value) -> None:
    """All alike: the first even places join the first odd one."""
    clip = torch.full((1, 16, 4), value)
    found = merge(clip, clip, PruningStage(0, 1, 5))
    assert found.kept.tolist() == [[1, 3, 5, 7, 9, 10, 11, 12, 13, 14, 15]]
    assert found.sizes.tolist() == [[6.0] + [1.0] * 10]
    assert torch.equal(found.tokens, clip[:, :11])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_merging_in_half_precision(dtype) -> None:
    tokens, keys = (x.to(dtype) for x in random_stage(2, clips=2, length=64))
    found = merge(tokens, keys, PruningStage(0, 4, 12))
    expected = merge(tokens.float(), keys.float(), PruningStage(0, 4, 12))
    assert found.tokens.dtype == dtype
    assert torch.equal(found.kept, expected.kept) and torch.equal(found.sizes, expected.sizes)
    torch.testing.assert_close(found.tokens.float(), expected.tokens, atol=0.02, rtol=0.02)


def test_gradients_are_shared_by_the_merged() -> None:
    tokens, keys = random_stage(2, clips=1, length=16)
    tokens.requires_grad_()
    found = merge(tokens, keys, PruningStage(0, 1, 6))
    (found.tokens * found.sizes[..., None]).sum().backward()
    torch.testing.assert_close(tokens.grad, torch.ones_like(tokens))


def drop(tokens, keys, stage: PruningStage):
    context = stage_context(len(tokens), tokens.shape[1])
    return ToMeDropPruner()(tokens, keys, stage, context)


def slow_drop(keys: list[list[float]], num_drop: int) -> list[int]:
    """Kept places of one clip: every even one is judged by its best match among the odd ones."""
    members, left = list(range(len(keys))), num_drop
    while left:
        likeness = {
            a: max(dot(unit(keys[a]), unit(keys[b])) for b in members[1::2]) for a in members[0::2]
        }
        gone = sorted(likeness, key=lambda a: (-likeness[a], a))[: min(left, len(members) // 2)]
        members, left = [m for m in members if m not in gone], left - len(gone)
    return members


@pytest.mark.parametrize('length, num_chunks, num_drop', [(16, 4, 2), (15, 3, 2), (32, 4, 7)])
def test_dropping_equals_the_reference(length, num_chunks, num_drop) -> None:
    tokens, keys = random_stage(length, clips=3, length=length)
    found = drop(tokens, keys, PruningStage(0, num_chunks, num_drop))
    assert found.kept.tolist() == [slow_drop(k, num_chunks * num_drop) for k in keys.tolist()]
    assert torch.equal(found.tokens, tokens.gather(1, found.kept[..., None].expand(-1, -1, 6)))
    assert found.sizes is None


def test_dropping_by_hand() -> None:
    """The keys of test_merging_by_hand: the sources of its merges go, their values with them."""
    angle = torch.deg2rad(torch.tensor([0.0, 10.0, 90.0, 170.0, 175.0, 181.0]))
    keys = torch.stack([angle.cos(), angle.sin()], dim=-1)[None]
    tokens = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [6.0], [5.0]]])
    found = drop(tokens, keys, PruningStage(0, 2, 1))
    assert found.kept.tolist() == [[1, 2, 3, 5]]
    assert found.tokens.flatten().tolist() == [2.0, 3.0, 4.0, 5.0]


def test_dropping_takes_from_the_whole_clip_and_not_from_each_chunk() -> None:
    """The first chunk's tokens are all alike, the second's all different: one of each is asked."""
    keys = torch.eye(8)
    keys[:4] = 1.0
    found = drop(keys[None], keys[None], PruningStage(0, 2, 1))
    assert found.kept.tolist() == [[1, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize('pruner_class', [ToMeMergePruner, ToMeDropPruner])
def test_an_unknown_similarity_is_refused(pruner_class) -> None:
    with pytest.raises(ValueError, match='(?s)head'):
        pruner_class(similarity='head')
