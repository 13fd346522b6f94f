"""Tokens over pixels, by hand: which pixels, which colours."""

from __future__ import annotations

import numpy as np
import pytest

from sta.visualization.maps import (
    EDGE,
    NOTHING,
    Limits,
    colour_bar,
    coloured,
    limits_of,
    over_pixels,
    resized,
    whitened,
)


def test_every_pixel_has_its_token() -> None:
    values = np.arange(2 * 2 * 3).reshape(2, 2, 3)
    pixels = over_pixels(values, (2, 4, 2), (3, 7, 5))
    assert pixels.shape == (3, 7, 5)
    for frame in range(3):
        for row in range(7):
            for column in range(5):
                own = 6 * (frame // 2) + 3 * (row // 4) + column // 2
                assert pixels[frame, row, column] == own


def test_pixels_without_a_token_are_refused() -> None:
    with pytest.raises(ValueError, match='2 tokens of 4 do not cover 9 pixels'):
        over_pixels(np.zeros((1, 2, 2)), (2, 4, 4), (2, 8, 9))


def test_dropped_patches_are_white_with_two_grey_sides() -> None:
    frames = np.random.default_rng(0).integers(0, 250, (4, 8, 8, 3), dtype=np.uint8)
    kept = np.array([[[True, False], [True, True]], [[False, True], [True, False]]])
    shown = whitened(frames, kept, (2, 4, 4))
    for t, y, x in np.ndindex(2, 2, 2):
        place = (slice(2 * t, 2 * t + 2), slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4))
        if kept[t, y, x]:
            assert (shown[place] == frames[place]).all()
            continue
        assert (shown[place][:, 1:, 1:] == 255).all()
        assert (shown[place][:, 0] == EDGE).all() and (shown[place][:, :, 0] == EDGE).all()


def brightness(colours: np.ndarray) -> np.ndarray:
    return colours @ np.array([0.2126, 0.7152, 0.0722])


def test_larger_values_are_lighter() -> None:
    values = np.linspace(-2, 3, 40)
    light = brightness(coloured(values, Limits(-2.0, 3.0)))
    assert (np.diff(light) > 0).all()
    assert light[0] < 30 and light[-1] > 200


def test_ends_and_what_lies_beyond() -> None:
    limits = Limits(1.0, 2.0)
    ends = coloured(np.array([1.0, 2.0, -5.0, 9.0, np.nan]), limits)
    assert ends[0].tolist() == ends[2].tolist() == [68, 1, 84]
    assert ends[1].tolist() == ends[3].tolist() == [253, 231, 37]
    assert tuple(ends[4]) == NOTHING
    assert coloured(np.array([1.0]), Limits(1.0, 1.0)).tolist() == [[68, 1, 84]]


def test_limits_look_past_what_is_missing() -> None:
    assert limits_of(np.array([np.nan, 3.0, -1.0])) == (-1.0, 3.0)
    assert limits_of(np.array([np.nan])) == (0.0, 1.0)


def test_the_bar_has_the_largest_value_on_top() -> None:
    bar = colour_bar(50, 3)
    assert bar.shape == (50, 3, 3)
    assert bar[0, 1].tolist() == [253, 231, 37] and bar[-1, 1].tolist() == [68, 1, 84]
    assert (np.diff(brightness(bar[:, 0])) < 0).all()


def test_sizes() -> None:
    panel = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    large = resized(panel, 8)
    assert large.shape == (4, 6, 3)
    assert (large[::2, ::2] == panel).all() and (large[1::2, 1::2] == panel).all()
    small = resized(np.full((100, 200, 3), 7, np.uint8), 50)
    assert small.shape == (25, 50, 3) and (small == 7).all()
    assert (resized(panel, 3) == panel).all()
