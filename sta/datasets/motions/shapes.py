"""Outlines of objects and the patches made from them.

No outline or its filling is symmetric under a turn: each patch carries an off-centre mark and a
shade, so that a turning object is seen to turn whatever its outline is.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from sta.datasets.motions.textures import colored, random_color, random_field, uniform

NUM_POINTS = 96
SUPERSAMPLING = 4

Outline = Callable[[np.random.Generator], np.ndarray]


def from_radius(radius: np.ndarray) -> np.ndarray:
    """Turn radii (P,) at even angles into points (P, 2)."""
    angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(rng: np.random.Generator) -> np.ndarray:
    """Return an ellipse with an axis ratio of 0.5 to 0.8."""
    return from_radius(np.ones(NUM_POINTS)) * [1.0, uniform(rng, 0.5, 0.8)]


def polygon(rng: np.random.Generator) -> np.ndarray:
    """Return a polygon of 3 to 6 corners at uneven angles and radii."""
    corners = int(rng.integers(3, 7))
    angle = 2 * np.pi * (np.arange(corners) + 0.6 * (rng.random(corners) - 0.5)) / corners
    radius = 0.75 + 0.25 * rng.random(corners)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def star(rng: np.random.Generator) -> np.ndarray:
    """Return a star of 3 to 6 points, stretched along one axis."""
    points = int(rng.integers(3, 7))
    radius = np.ones(2 * points)
    radius[1::2] = uniform(rng, 0.45, 0.65)
    return from_radius(radius) * [1.0, uniform(rng, 0.7, 0.95)]


def blob(rng: np.random.Generator) -> np.ndarray:
    """Return a smooth closed curve: a circle bent by its first few harmonics."""
    angle = np.linspace(0, 2 * np.pi, NUM_POINTS, endpoint=False)
    radius = np.ones(NUM_POINTS)
    for harmonic in (1, 2, 3, 4):
        phase = 2 * np.pi * float(rng.random())
        radius += uniform(rng, 0.1, 0.45) / harmonic * np.cos(harmonic * angle + phase)
    return from_radius(radius)


def arrow(rng: np.random.Generator) -> np.ndarray:
    """Return an arrow head with a shaft."""
    neck, shaft = uniform(rng, -0.1, 0.3), uniform(rng, 0.25, 0.45)
    upper = np.array([[1.0, 0.0], [neck, 0.8], [neck, shaft], [-0.9, shaft]])
    return np.concatenate([upper, upper[:0:-1] * [1, -1]])


def bracket(rng: np.random.Generator) -> np.ndarray:
    """Return an L of two thick bars."""
    thick, foot = uniform(rng, 0.6, 0.85), uniform(rng, 0.2, 0.9)
    corner = [[-0.7, -0.9], [thick - 0.7, -0.9], [thick - 0.7, 0.9 - thick]]
    return np.array([*corner, [foot, 0.9 - thick], [foot, 0.9], [-0.7, 0.9]])


OUTLINES: tuple[Outline, ...] = (ellipse, polygon, polygon, star, blob, blob, arrow, bracket)


def random_outline(rng: np.random.Generator) -> np.ndarray:
    """Return a random outline (P, 2), turned at random and fitted into the unit circle."""
    points = OUTLINES[int(rng.integers(len(OUTLINES)))](rng)
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    points = points / np.linalg.norm(points, axis=1).max()
    angle = 2 * np.pi * float(rng.random())
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def filled(points: np.ndarray, side: int) -> np.ndarray:
    """Fill an outline given in the unit circle; returns coverage (side, side) float32 in [0, 1]."""
    big = SUPERSAMPLING * side
    mask = np.zeros((big, big), np.uint8)
    # One pixel is left free all round: a warp must not smear an edge that touches the border.
    pixels = points * (big / 2 - SUPERSAMPLING) + big / 2
    cv2.fillPoly(mask, [np.round(pixels).astype(np.int32)], 255)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def off_center_mark(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Return a disc (side, side) in [0, 1] of a quarter of the side, well inside ``cover``."""
    side = len(cover)
    angles = 2 * np.pi * (float(rng.random()) + np.arange(8) / 8)
    centers = 0.42 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inside = cv2.blur(cover, (side // 4, side // 4))
    rows, columns = np.round((centers[:, 1] + 1, centers[:, 0] + 1) * np.array(side / 2)).astype(
        int
    )
    best = int(np.argmax(np.round(inside[rows, columns], 3)))
    return filled(centers[best] + from_radius(np.full(NUM_POINTS, 0.26)), side)


def random_patch(
    rng: np.random.Generator,
    *,
    side: int,
    period: float,
    background: np.ndarray,
    contrast: float,
    value: tuple[float, float],
) -> np.ndarray:
    """Make one object.

    Args:
        rng: source of all choices.
        side: pixels of the patch.
        period: period of its texture in pixels of the patch.
        background: mean colour (3,) behind it.
        value: lowest and highest brightness of its colours, in grey levels.
        contrast: 1 leaves the object's colours alone, 0 makes them the background's.

    Returns:
        (side, side, 4) float32: colours multiplied by coverage in [0, 255], and coverage in [0, 1].
    """
    candidates = [random_color(rng, *value) for _ in range(5)]
    candidates.sort(key=lambda color: -float(np.abs(color - background).sum()))
    first, second, mark = candidates[0], candidates[2], candidates[1]
    texture = colored(random_field(rng, side, period), first, 0.5 * (first + second))
    cover = filled(random_outline(rng), side)
    disc = off_center_mark(rng, cover)[..., None]
    texture = texture + disc * (mark - texture)
    texture = np.clip(background + contrast * (texture - background), 0, 255)
    cover = cover[..., None]
    return np.concatenate([texture * cover, cover], axis=2).astype(np.float32)
