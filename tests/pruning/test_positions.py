"""Filling a pruned grid, by hand and against trying every kept token."""

from __future__ import annotations

import pytest
import torch

from sta.pruning import nearest_kept, prune_stage, trace


def by_trying(kept: list[int], grid: tuple[int, int, int]) -> list[int]:
    """The place in `kept` that every position shows."""
    frames, height, width = grid
    places = []
    for t in range(frames):
        here = [(p % (height * width), i) for i, p in enumerate(kept) if p // height // width == t]
        for y in range(height):
            for x in range(width):
                nearest = min(((p // width - y) ** 2 + (p % width - x) ** 2, p, i) for p, i in here)
                places.append(nearest[2])
    return places


def test_by_hand() -> None:
    """2 x 3 positions, the corners 0 and 5 kept in the order 5, 0: the middle is a tie twice."""
    kept = torch.tensor([[5, 0]])
    # 0 is nearest to itself, to 1 (1 against 2) and to 3 (1 against 4); 5 to the others.
    assert nearest_kept(kept, (1, 2, 3)).tolist() == [[1, 1, 0, 1, 0, 0]]


def test_of_equally_near_tokens_the_first_position_is_taken() -> None:
    kept = torch.tensor([[2, 0]])
    assert nearest_kept(kept, (1, 1, 3)).tolist() == [[1, 1, 0]]
    kept = torch.tensor([[7, 5, 3, 1]])  # around the centre of 3 x 3
    assert nearest_kept(kept, (1, 3, 3))[0, 4] == 3


def test_nothing_is_filled_from_another_frame() -> None:
    """The token of frame 0 is at the far end, that of frame 1 at the near end."""
    kept = torch.tensor([[3, 4]])
    assert nearest_kept(kept, (2, 2, 2)).tolist() == [[0] * 4 + [1] * 4]


@pytest.mark.parametrize('grid', [(1, 1, 1), (2, 3, 3), (3, 4, 7), (2, 7, 2), (1, 9, 9)], ids=str)
def test_agrees_with_trying_every_token(grid) -> None:
    generator = torch.Generator().manual_seed(sum(grid))
    frames, height, width = grid
    area = height * width
    for keep in {1, (area + 1) // 2, area}:
        order = torch.rand(4, frames, area, generator=generator).argsort(-1)[..., :keep]
        kept = (order + torch.arange(frames)[None, :, None] * area).flatten(1)
        assert nearest_kept(kept, grid).tolist() == [by_trying(row, grid) for row in kept.tolist()]


def test_one_stage_by_hand() -> None:
    """2 frames of 2 x 3: 4 is frame 0, row 1, column 1; 11 is the last place; 6 opens frame 1."""
    places = trace([torch.tensor([[4, 11, 6]])], (2, 2, 3))
    assert places.dtype == torch.int64
    assert places.tolist() == [[[0, 1, 1], [1, 1, 2], [1, 0, 0]]]


def test_stages_are_composed_in_order() -> None:
    """Of [5, 0, 3, 1] places 2 and 0 stay: 3 and 5."""
    first, second = torch.tensor([[5, 0, 3, 1]]), torch.tensor([[2, 0]])
    assert trace([first, second], (3, 1, 2)).tolist() == [[[1, 0, 1], [2, 0, 1]]]


def test_clips_are_traced_apart() -> None:
    first, second = torch.tensor([[0, 1, 2], [3, 2, 1]]), torch.tensor([[2], [0]])
    assert trace([first, second], (1, 2, 2)).tolist() == [[[0, 1, 0]], [[0, 1, 1]]]


def test_tokens_that_carry_their_own_place() -> None:
    """Three real stages over tokens whose last channels hold frame, row and column."""
    frames, rows, columns = 8, 3, 4
    grid = torch.stack(
        torch.meshgrid(
            torch.arange(frames), torch.arange(rows), torch.arange(columns), indexing='ij'
        ),
        dim=-1,
    ).reshape(1, -1, 3)
    noise = torch.randn(2, 96, 5, generator=torch.Generator().manual_seed(0))
    x = torch.cat([noise, grid.expand(2, -1, -1).float()], dim=-1)
    kept_per_stage = []
    for num_chunks, num_drop, backward in [(8, 3, False), (4, 5, True), (2, 9, False)]:
        x, kept = prune_stage(
            x, x[..., :5], num_chunks=num_chunks, num_drop=num_drop, backward=backward
        )
        kept_per_stage.append(kept)
    assert torch.equal(trace(kept_per_stage, (frames, rows, columns)), x[..., 5:].long())


def test_nothing_to_trace() -> None:
    with pytest.raises(ValueError):
        trace([], (2, 2, 2))
