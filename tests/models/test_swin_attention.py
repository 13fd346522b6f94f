"""Windows as index maps against pad, roll and cut, and the host's masks."""

from __future__ import annotations

from math import ceil, prod

import pytest
import torch

from sta.models.swin_attention import clip_window, gather_of, make_windows

CPU = torch.device('cpu')
CASES = [
    ((4, 6, 6), (2, 3, 3), (1, 1, 1)),
    ((4, 6, 6), (2, 3, 3), (0, 0, 0)),
    ((3, 5, 7), (2, 3, 3), (1, 1, 1)),  # padded on every axis
    ((16, 14, 14), (8, 7, 7), (4, 3, 3)),
    ((2, 4, 9), (8, 7, 7), (4, 3, 3)),  # clipped on two axes, padded on the third
    ((2, 2, 2), (8, 7, 7), (4, 3, 3)),
]


def host_windows(grid, window, shift):
    """Positions and mask from the host's own functions."""
    from mmaction.models.backbones.swin import compute_mask, get_window_size, window_partition

    window, shift = get_window_size(grid, window, shift)
    padded = [ceil(g / w) * w for g, w in zip(grid, window, strict=True)]
    index = torch.full((1, *padded, 1), prod(grid))
    index[0, : grid[0], : grid[1], : grid[2], 0] = torch.arange(prod(grid)).reshape(grid)
    rolled = torch.roll(index, [-s for s in shift], dims=(1, 2, 3))
    positions = window_partition(rolled, window).squeeze(-1)
    mask = compute_mask(*padded, window, shift, CPU) if any(shift) else None
    return positions, mask


@pytest.mark.parametrize('grid, window, shift', CASES, ids=str)
def test_they_are_the_hosts(grid, window, shift) -> None:
    positions, mask = host_windows(grid, window, shift)
    ours = make_windows(grid, window, shift, by_mask=False, device=CPU)
    assert torch.equal(ours.positions, positions)
    assert (ours.mask is None) == (mask is None)
    assert mask is None or torch.equal(ours.mask, mask)
    assert ours.padded == bool((positions == prod(grid)).any())


@pytest.mark.parametrize('grid, window, shift', CASES, ids=str)
def test_by_mask_they_are_the_same_in_another_order(grid, window, shift) -> None:
    plain = make_windows(grid, window, shift, by_mask=False, device=CPU)
    ours = make_windows(grid, window, shift, by_mask=True, device=CPU)
    order = [plain.positions.tolist().index(row) for row in ours.positions.tolist()]
    assert sorted(order) == list(range(len(order)))
    ends = [last for _, last, _ in ours.runs]
    assert [first for first, _, _ in ours.runs] == [0, *ends[:-1]] and ends[-1] == len(order)
    for first, last, mask in ours.runs:
        for place in range(first, last):
            theirs = torch.zeros(()) if plain.mask is None else plain.mask[order[place]]
            assert torch.equal(
                *torch.broadcast_tensors(theirs, torch.zeros(()) if mask is None else mask)
            )


@pytest.mark.parametrize('grid, window, shift', CASES, ids=str)
def test_every_position_finds_its_slot(grid, window, shift) -> None:
    ours = make_windows(grid, window, shift, by_mask=True, device=CPU)
    assert torch.equal(ours.positions.flatten()[ours.slots], torch.arange(prod(grid)))


def test_an_axis_no_longer_than_its_window_is_not_shifted() -> None:
    assert clip_window((2, 7, 9), (8, 7, 7), (4, 3, 3)) == ((2, 7, 7), (0, 0, 3))


@pytest.mark.parametrize('windows_first', [True, False])
def test_tokens_come_back_to_their_place(windows_first) -> None:
    """Tokens in kept order go into windows of a filled, padded grid and come back."""
    grid = (2, 3, 3)
    windows = make_windows(grid, (2, 2, 2), (1, 1, 1), by_mask=windows_first, device=CPU)
    kept = torch.tensor([[4, 0, 13, 10], [8, 7, 9, 17]])
    sources = torch.tensor([[1] * 9 + [3] * 9, [0] * 9 + [2] * 9])
    for clip in range(2):
        for place, position in enumerate(kept[clip].tolist()):
            sources[clip, position] = place
    gather = gather_of(windows, sources, kept, windows_first=windows_first)
    tokens = torch.tensor([[10, 11, 12, 13, -1], [20, 21, 22, 23, -2]])  # the last one pads
    slots = tokens.flatten()[gather.rows]
    assert torch.equal(slots[gather.back].view(2, 4), tokens[:, :4])
    shown = (
        slots.view(len(windows.positions), 2, -1)
        if windows_first
        else slots.view(2, len(windows.positions), -1).transpose(0, 1)
    )
    for clip in range(2):
        padded = torch.cat([sources[clip], torch.tensor([4])])
        assert torch.equal(shown[:, clip], tokens[clip][padded[windows.positions]])
