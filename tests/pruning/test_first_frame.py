"""The first chunk's rules: ToMe-drop, its rounds, random and grid."""

from __future__ import annotations

import math

import pytest
import torch

from sta.pruning import PruningStage, STAPruner, prune_stage
from tests.pruning import reference
from tests.pruning.inputs import random_stage


def keys_at(*degrees: float) -> torch.Tensor:
    """One clip of one chunk with unit keys at the given angles; (1, N, 2)."""
    radians = [math.radians(angle) for angle in degrees]
    return torch.tensor([[[math.cos(angle), math.sin(angle)] for angle in radians]])


@pytest.mark.parametrize(
    'first_frame, num_drop, kept',
    [
        ('tome', 1, [1, 3, 5, 4, 2]),
        ('tome', 2, [1, 3, 5, 4]),
        ('tome', 3, [1, 3, 5]),
        ('tome', 4, [1, 3]),
        ('tome', 5, [1]),
        ('tome_rounds', 1, [1, 3, 5, 4, 2]),
        ('tome_rounds', 3, [1, 3, 5]),
        ('tome_rounds', 4, [3, 1]),
        ('tome_rounds', 5, [3]),
    ],
)
def test_worked_example(first_frame, num_drop, kept) -> None:
    """b = 1, 3, 5 at 0, 90, 150 degrees; a = 0, 2, 4 at 10, 60, 260 degrees.

    Nearest b: 0 -> 1 (10 apart), 2 -> 3 (30 apart), 4 -> 1 (100 apart). Least similar first: 4, 2,
    0. So the order is [1, 3, 5, 4, 2, 0], cut from the end. In rounds, [1, 3, 5] is split again:
    a = 1, 5 are 90 and 60 from b = 3, so the order is [3, 1, 5].
    """
    keys = keys_at(10, 0, 60, 90, 260, 150)
    settings = {'num_chunks': 1, 'num_drop': num_drop, 'first_frame': first_frame}
    assert prune_stage(keys, keys, **settings)[1].tolist() == [kept]


def test_three_rounds() -> None:
    """Rounds leave [1, 3, 5, 7, 9, 11, 13, 15], then [3, 7, 11, 15]; the third drops 3 or 11.

    3 and 11 are 20 and 40 degrees from 7 and further from 15, so 3 goes first.
    """
    angles = [float(place) for place in range(16)]
    angles[3], angles[7], angles[11], angles[15] = 80.0, 100.0, 140.0, 300.0
    keys = keys_at(*angles)
    for num_drop, kept in [(8, [*range(1, 16, 2)]), (12, [3, 7, 11, 15]), (13, [7, 15, 11])]:
        settings = {'num_chunks': 1, 'num_drop': num_drop, 'first_frame': 'tome_rounds'}
        assert prune_stage(keys, keys, **settings)[1].tolist() == [kept]


@pytest.mark.parametrize('num_tokens', [4, 7, 16])
def test_rounds_change_nothing_up_to_half(num_tokens) -> None:
    tokens, keys = random_stage(num_tokens, clips=2, length=3 * num_tokens)
    for num_drop in range(1, (num_tokens + 1) // 2 + 1):
        settings = {'num_chunks': 3, 'num_drop': num_drop}
        once = prune_stage(tokens, keys, first_frame='tome', **settings)[1]
        rounds = prune_stage(tokens, keys, first_frame='tome_rounds', **settings)[1]
        assert torch.equal(once, rounds)


def test_cutting_once_loses_the_bottom_of_the_picture() -> None:
    """The released rule: beyond the even places the last odd ones go, whatever they show."""
    tokens, keys = random_stage(0, clips=2, length=12)
    _, kept = prune_stage(tokens, keys, num_chunks=1, num_drop=8, first_frame='tome')
    assert kept.tolist() == [[1, 3, 5, 7]] * 2


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('previous', ['all', 'kept'])
@pytest.mark.parametrize('first_frame, num_drop', [('random', 5), ('grid', 4), ('grid', 9)])
def test_later_chunks_follow_the_drawn_first_one(first_frame, num_drop, previous, backward) -> None:
    tokens, keys = random_stage(2, clips=3, length=4 * 16)
    settings = {
        'num_chunks': 4,
        'num_drop': num_drop,
        'first_frame': first_frame,
        'previous': previous,
        'backward': backward,
    }
    found, kept = prune_stage(tokens, keys, **settings)
    first = kept.reshape(3, 4, 16 - num_drop)[:, -1 if backward else 0] % 16
    expected = reference.prune_stage(
        tokens.numpy(), keys.numpy(), first_kept=first.tolist(), **settings
    )
    assert kept.tolist() == expected.kept.tolist()
    assert torch.equal(found, torch.from_numpy(expected.tokens).float())


def dropped(first_frame: str, num_drop: int, num_tokens: int, **settings) -> list[list[int]]:
    """Dropped places of 8 clips of one chunk."""
    ids = settings.pop('clip_ids', torch.arange(8))
    tokens, keys = random_stage(2, clips=8, length=num_tokens)
    settings |= {'num_chunks': 1, 'num_drop': num_drop, 'first_frame': first_frame}
    kept = prune_stage(tokens, keys, clip_ids=ids, **settings)[1].tolist()
    assert all(len(set(clip)) == num_tokens - num_drop for clip in kept)
    return [sorted(set(range(num_tokens)) - set(clip)) for clip in kept]


@pytest.mark.parametrize('first_frame, num_drop', [('random', 10), ('grid', 16)])
def test_draws_follow_the_seed_the_stage_and_the_clip_alone(first_frame, num_drop) -> None:
    first = dropped(first_frame, num_drop, 64)
    assert dropped(first_frame, num_drop, 64) == first
    assert all(len(clip) == num_drop for clip in first)
    assert len({tuple(clip) for clip in first}) == 8
    assert dropped(first_frame, num_drop, 64, seed=1) != first
    assert dropped(first_frame, num_drop, 64, stage_index=1) != first
    same = dropped(first_frame, num_drop, 64, clip_ids=torch.full((8,), 3))
    assert same == [first[3]] * 8


@pytest.mark.parametrize('first_frame, num_drop', [('random', 16), ('grid', 16)])
def test_every_place_is_drawn_equally_often(first_frame, num_drop) -> None:
    """4000 clips, a quarter of 64 places each: 1000 a place, standard deviation 27."""
    blank = torch.zeros(4000, 64, 1)
    _, kept = prune_stage(
        blank,
        blank,
        num_chunks=1,
        num_drop=num_drop,
        first_frame=first_frame,
        clip_ids=torch.arange(4000) * 7919,
    )
    counts = 4000 - torch.bincount(kept.flatten(), minlength=64)
    assert counts.sum() == 16 * 4000
    assert (counts - 1000).abs().max() < 5 * 27.4


@pytest.mark.parametrize('num_tokens, num_drop', [(16, 4), (36, 9), (64, 16), (144, 36)])
def test_grid_drops_one_of_every_cell(num_tokens, num_drop) -> None:
    side, cells = math.isqrt(num_tokens), math.isqrt(num_drop)
    for clip in dropped('grid', num_drop, num_tokens):
        found = {(i // side * cells // side, i % side * cells // side) for i in clip}
        assert len(found) == num_drop


def test_grid_cells_of_unequal_size() -> None:
    """Five rows in two cells: the first cell ends after row 2 (5 / 2 rounded up) or after row 1."""
    for clip in dropped('grid', 4, 25):
        rows, columns = sorted(i // 5 for i in clip), sorted(i % 5 for i in clip)
        for places in (rows, columns):
            assert places[1] <= 2 <= places[2]


def test_grid_follows_positions_and_the_shape_of_the_frame() -> None:
    """Two frames of 4 x 8 places in one chunk, of which every second place is left."""
    positions = torch.arange(0, 32, 2).repeat(2).expand(3, 32)
    tokens, keys = random_stage(2, clips=3, length=32)
    _, kept = prune_stage(
        tokens,
        keys,
        num_chunks=1,
        num_drop=4,
        first_frame='grid',
        positions=positions,
        grid_size=(4, 8),
        clip_ids=torch.arange(3),
    )
    for clip in kept.tolist():
        places = [int(positions[0, i]) for i in set(range(32)) - set(clip)]
        assert {(place // 8 // 2, place % 8 // 4) for place in places} == {
            (0, 0),
            (0, 1),
            (1, 0),
            (1, 1),
        }


def test_grid_with_empty_cells_still_drops_the_same_number() -> None:
    """All that is left lies in the top left cell of a 4 x 4 frame."""
    positions = torch.tensor([[0, 1, 4, 5, 0, 1, 4, 5]])
    tokens, keys = random_stage(2, clips=1, length=8)
    settings = {'num_chunks': 1, 'num_drop': 4, 'first_frame': 'grid', 'positions': positions}
    _, kept = prune_stage(tokens, keys, grid_size=(4, 4), **settings)
    assert len(set(kept[0].tolist())) == 4


@pytest.mark.parametrize(
    'num_drop, squares', [(5, '4.*9'), (8, '4.*9'), (2, '1.*4'), (15, '9.*16')]
)
def test_grid_wants_a_square_number(num_drop, squares) -> None:
    with pytest.raises(ValueError, match=f'(?s){num_drop}.*{squares}'):
        dropped('grid', num_drop, 36)


def test_a_pruner_names_the_square_numbers_too() -> None:
    with pytest.raises(ValueError, match='(?s)10.*9.*16'):
        STAPruner(first_frame='grid').check(PruningStage(0, 8, 10))
