"""prune_stage against the slow reference, worked examples and properties."""

from __future__ import annotations

import math
import re

import pytest
import torch

from sta.pruning import PruningStage, STAPruner, prune_stage
from tests.pruning import reference
from tests.pruning.inputs import random_stage, stage_context

# (T, N, r): odd N, one chunk, one token left, r above N / 2 and above the even tokens.
SHAPES = [
    (1, 9, 4),
    (1, 8, 7),
    (2, 2, 1),
    (2, 7, 3),
    (2, 7, 6),
    (3, 10, 1),
    (4, 12, 5),
    (4, 12, 9),
    (8, 16, 8),
    (5, 13, 7),
    (2, 33, 20),
    (32, 40, 39),  # handed on as it is, redundancy would shrink by about 40 per chunk and vanish
]


def assert_equals_reference(tokens, keys, **settings) -> None:
    expected = reference.prune_stage(tokens.numpy(), keys.numpy(), **settings)
    found, kept = prune_stage(tokens, keys, **settings)
    assert kept.dtype == torch.int64
    assert kept.tolist() == expected.kept.tolist()
    assert torch.equal(found, torch.from_numpy(expected.tokens).to(tokens.dtype))


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('first_frame', ['tome', 'tome_rounds'])
@pytest.mark.parametrize('shape', SHAPES)
def test_equals_the_reference(shape, first_frame, backward) -> None:
    num_chunks, num_tokens, num_drop = shape
    tokens, keys = random_stage(num_tokens, clips=3, length=num_chunks * num_tokens)
    assert_equals_reference(
        tokens,
        keys,
        num_chunks=num_chunks,
        num_drop=num_drop,
        backward=backward,
        first_frame=first_frame,
    )


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('previous', ['all', 'kept'])
@pytest.mark.parametrize('affinity', ['cosine', 'dot'])
@pytest.mark.parametrize('score', ['product', 'temporal', 'semantic'])
def test_ablations_equal_the_reference(score, affinity, previous, backward) -> None:
    tokens, keys = random_stage(5, clips=2, length=4 * 11)
    assert_equals_reference(
        tokens,
        keys,
        num_chunks=4,
        num_drop=4,
        score=score,
        affinity=affinity,
        previous=previous,
        backward=backward,
    )


@pytest.mark.parametrize('channels, width', [(1, 1), (1, 8), (9, 1), (64, 32)])
def test_any_number_of_channels_and_any_head_width(channels, width) -> None:
    tokens, keys = random_stage(2, clips=1, length=3 * 8, channels=channels, width=width)
    if width == 1:  # the cosine of numbers is their sign: their product is what tells them apart
        assert_equals_reference(tokens, keys, num_chunks=3, num_drop=3, affinity='dot')
    assert_equals_reference(tokens, keys, num_chunks=3, num_drop=3)


def test_the_ablations_differ_from_the_default() -> None:
    """Otherwise the comparisons above could pass with every option ignored."""
    tokens, keys = random_stage(5, clips=2, length=4 * 11)
    kept = [
        prune_stage(tokens, 3 * keys, num_chunks=4, num_drop=7, **changed)[1]
        for changed in (
            {},
            {'score': 'temporal'},
            {'score': 'semantic'},
            {'affinity': 'dot'},
            {'previous': 'kept'},
            {'first_frame': 'tome_rounds'},
            {'backward': True},
        )
    ]
    assert len({tuple(k.flatten().tolist()) for k in kept}) == len(kept)


def worked_example() -> tuple[torch.Tensor, torch.Tensor]:
    """T = 3, N = 3, keys and tokens are plain numbers; see the test below."""
    log2, log3 = math.log(2.0), math.log(3.0)
    keys = torch.tensor([0.0, 1.0, 2.0, 0.0, log2, log3, 0.0, 1.0, 3.0])
    tokens = torch.tensor([7.0, 7.0, 7.0, 1.0, -3.0, 2.0, 0.0, -1.0, 5.0])
    return tokens.reshape(1, 9, 1), keys.reshape(1, 9, 1)


def test_worked_example() -> None:
    """Worked by hand, with plain products as the affinity and r = 1.

    Chunk 0, keys (0, 1, 2): b = [1], a = [0, 2]. The cosines with token 1 are 0 and 1, so the order
    is [1, 0, 2] and [1, 0] stay.
    Chunk 1, keys (0, ln 2, ln 3), against all old keys k: weights (1, 2^k, 3^k), the columns of P
        k = 0: (1, 1, 1) / 3,  k = 1: (1, 2, 3) / 6,  k = 2: (1, 4, 9) / 14.
    A = P @ (1, 1, 1) = (24, 40, 62) / 42. Tokens (1, -3, 2) give F = (0, 1, 1/2).
    A (1 - F) = (24, 0, 31) / 42: the order is [1, 0, 2] and [1, 0] stay, handing on
    (40, 24) / 64 = (5, 3) / 8.
    Chunk 2, keys (0, 1, 3), against ln 2 and 0: the weights are (1, 2, 8) / 11 and (1, 1, 1) / 3.
    A = 5/8 (1, 2, 8) / 11 + 3/8 (1, 1, 1) / 3 = (16, 21, 51) / 88.
    Tokens (0, -1, 5) give F = (0, 1/5, 1).
    A (1 - F) = (16, 16.8, 0) / 88: the order is [2, 0, 1] and [2, 0] stay.
    (Without the weights (5, 3) / 8 token 1 would come before token 0: (7, 6.8, 0) / 33.)
    """
    tokens, keys = worked_example()
    found, kept = prune_stage(tokens, keys, num_chunks=3, num_drop=1, affinity='dot')
    assert kept.tolist() == [[1, 0, 3 + 1, 3 + 0, 6 + 2, 6 + 0]]
    assert found.flatten().tolist() == [7.0, 7.0, -3.0, 1.0, 5.0, 0.0]


def test_worked_example_with_the_kept_set_only() -> None:
    """As above, but chunk 1 is compared with the kept keys 1 and 0 alone.

    A = (1, 2, 3) / 6 + (1, 1, 1) / 3 = (3, 4, 5) / 6, so A (1 - F) = (3, 0, 2.5) / 6:
    [1, 2] stay with (4, 5) / 9.
    Chunk 2 against ln 2 and ln 3, keys (0, 1, 3): (1, 2, 8) / 11 and (1, 3, 27) / 31.
    A = 4/9 (1, 2, 8) / 11 + 5/9 (1, 3, 27) / 31; A (1 - F) = (0.058, 0.108, 0): [2, 0] stay.
    """
    tokens, keys = worked_example()
    settings = {'num_chunks': 3, 'num_drop': 1, 'affinity': 'dot', 'previous': 'kept'}
    assert prune_stage(tokens, keys, **settings)[1].tolist() == [[1, 0, 4, 5, 8, 6]]


def test_worked_example_backward_is_the_mirrored_clip() -> None:
    tokens, keys = (x.reshape(1, 3, 3, 1).flip(1).reshape(1, 9, 1) for x in worked_example())
    _, kept = prune_stage(tokens, keys, num_chunks=3, num_drop=1, affinity='dot', backward=True)
    assert kept.tolist() == [[2, 0, 3 + 1, 3 + 0, 6 + 1, 6 + 0]]


@pytest.mark.parametrize('score', ['product', 'temporal', 'semantic'])
def test_backward_mirrors_forward(score) -> None:
    tokens, keys = random_stage(3, clips=2, length=4 * 9)
    mirrored = [x.reshape(2, 4, 9, -1).flip(1).reshape(2, 36, -1) for x in (tokens, keys)]
    _, forward = prune_stage(tokens, keys, num_chunks=4, num_drop=4, score=score)
    _, backward = prune_stage(*mirrored, num_chunks=4, num_drop=4, score=score, backward=True)
    in_chunk = forward.reshape(2, 4, 5) % 9, backward.reshape(2, 4, 5).flip(1) % 9
    assert torch.equal(*in_chunk)


@pytest.mark.parametrize('backward', [False, True])
def test_nothing_to_drop_leaves_everything_in_place(backward) -> None:
    tokens, keys = random_stage(0, clips=2, length=12)
    found, kept = prune_stage(tokens, keys, num_chunks=3, num_drop=0, backward=backward)
    assert torch.equal(found, tokens)
    assert kept.tolist() == [list(range(12))] * 2
    assert kept.dtype == torch.int64


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('num_drop', [1, 5, 15])
def test_kept_indices_are_unique_and_stay_in_their_chunk(num_drop, backward) -> None:
    tokens, keys = random_stage(8, clips=3, length=6 * 16)
    _, kept = prune_stage(tokens, keys, num_chunks=6, num_drop=num_drop, backward=backward)
    chunks = kept.reshape(3, 6, 16 - num_drop) // 16
    assert torch.equal(chunks, torch.arange(6)[None, :, None].expand_as(chunks))
    assert all(len(set(clip)) == len(clip) for clip in kept.tolist())


@pytest.mark.parametrize('first_frame', ['tome', 'tome_rounds', 'random', 'grid'])
def test_a_clip_alone_equals_the_clip_in_a_batch(first_frame) -> None:
    tokens, keys = random_stage(9, clips=5, length=4 * 25)
    settings = {'num_chunks': 4, 'num_drop': 9, 'first_frame': first_frame}
    ids = torch.arange(5) + 100
    found, kept = prune_stage(tokens, keys, clip_ids=ids, **settings)
    for clip in range(5):
        one = slice(clip, clip + 1)
        alone, kept_alone = prune_stage(tokens[one], keys[one], clip_ids=ids[one], **settings)
        assert torch.equal(kept_alone, kept[one])
        assert torch.equal(alone, found[one])


def test_twice_the_same_gives_the_same_and_leaves_the_inputs_alone() -> None:
    tokens, keys = random_stage(9, clips=2, length=4 * 25)
    before = tokens.clone(), keys.clone()
    runs = [prune_stage(tokens, keys, num_chunks=4, num_drop=9)[1] for _ in range(2)]
    assert torch.equal(*runs)
    assert torch.equal(tokens, before[0]) and torch.equal(keys, before[1])


def test_the_pruner_is_the_function_with_its_settings() -> None:
    tokens, keys = random_stage(4, clips=2, length=3 * 10)
    stage = PruningStage(after_block=0, num_chunks=3, num_drop=4, backward=True)
    rules = {
        'first_frame': 'tome_rounds',
        'score': 'temporal',
        'affinity': 'dot',
        'previous': 'kept',
    }
    pruned = STAPruner(**rules)(tokens, keys, stage, stage_context(2, 30))
    expected = reference.prune_stage(
        tokens.numpy(), keys.numpy(), num_chunks=3, num_drop=4, backward=True, **rules
    )
    assert pruned.kept.tolist() == expected.kept.tolist()
    assert torch.equal(pruned.tokens, torch.from_numpy(expected.tokens).float())
    assert pruned.sizes is None


@pytest.mark.parametrize('first_frame', ['random', 'grid'])
def test_the_pruner_hands_on_seed_clip_and_stage(first_frame) -> None:
    tokens, keys = random_stage(4, clips=2, length=2 * 36)
    stage = PruningStage(after_block=0, num_chunks=2, num_drop=9)
    pruner = STAPruner(first_frame=first_frame, seed=7)
    found = pruner(
        tokens, keys, stage, stage_context(2, 72, clip_ids=[5, 6], grid_size=(6, 6), stage_index=2)
    )
    given = {'first_frame': first_frame, 'num_chunks': 2, 'num_drop': 9}
    drawn_by = {'seed': 7, 'clip_ids': torch.tensor([5, 6]), 'stage_index': 2}
    assert torch.equal(found.kept, prune_stage(tokens, keys, **given, **drawn_by)[1])
    for other in ({'seed': 8}, {'clip_ids': torch.tensor([6, 5])}, {'stage_index': 1}):
        kept = prune_stage(tokens, keys, **given, **{**drawn_by, **other})[1]
        assert not torch.equal(found.kept, kept)


@pytest.mark.parametrize(
    'changed, named',
    [
        ({'num_drop': 6}, {'6'}),
        ({'num_drop': 7}, {'7', '6'}),
        ({'num_drop': -1}, {'-1'}),
        ({'num_chunks': 5}, {'5', '18'}),
        ({'num_chunks': 0}, {'0'}),
        ({'first_frame': 'first'}, {'first', 'tome', 'tome_rounds', 'random', 'grid'}),
        ({'score': 'both'}, {'both', 'product', 'temporal', 'semantic'}),
        ({'affinity': 'l2'}, {'l2', 'cosine', 'dot'}),
        ({'previous': 'none'}, {'none', 'all', 'kept'}),
    ],
)
def test_impossible_settings_are_refused_by_name(changed, named) -> None:
    """The message holds the wrong value and the limit, or the choices."""
    tokens, keys = random_stage(0, clips=1, length=18)
    with pytest.raises(ValueError) as refusal:
        prune_stage(tokens, keys, **{'num_chunks': 3, 'num_drop': 2, **changed})
    assert named <= set(re.findall(r'-?\w+', str(refusal.value)))


@pytest.mark.parametrize('setting', ['first_frame', 'similarity', 'score', 'affinity', 'previous'])
def test_a_pruner_refuses_unknown_settings_when_built(setting) -> None:
    with pytest.raises(ValueError, match='unheard-of'):
        STAPruner(**{setting: 'unheard-of'})
    with pytest.raises(TypeError):
        STAPruner(**{f'{setting}s': 'tome'})
