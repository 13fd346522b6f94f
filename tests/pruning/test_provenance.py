"""Kept indices of several stages traced back to frame, row and column."""

from __future__ import annotations

import pytest
import torch

from sta.pruning import prune_stage, trace


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
