"""Procedural textures: scalar fields in [0, 1] from a random generator, then coloured.

Only ``Generator.random`` and ``Generator.integers`` are used: their streams are the same in every
numpy from 1.26 on.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Field = Callable[[np.random.Generator, int, float], np.ndarray]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw one float in [low, high)."""
    return low + (high - low) * float(rng.random())


def rotated_grid(rng: np.random.Generator, side: int, period: float) -> tuple[np.ndarray, ...]:
    """Return two crossing phase planes (side, side) in radians; ``period`` is in pixels."""
    angle, phase_u, phase_v = 2 * np.pi * rng.random(3)
    x = np.arange(side, dtype=np.float32) * np.float32(2 * np.pi / period)
    u = np.cos(angle) * x[None, :] + np.sin(angle) * x[:, None] + phase_u
    v = -np.sin(angle) * x[None, :] + np.cos(angle) * x[:, None] + phase_v
    return u.astype(np.float32), v.astype(np.float32)


def edge(wave: np.ndarray, sharpness: float) -> np.ndarray:
    """Squash a wave about zero to [0, 1]; a higher sharpness gives harder edges."""
    return 0.5 + 0.5 * np.tanh(np.float32(sharpness) * wave)


def stripes(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return parallel stripes (side, side)."""
    u, _ = rotated_grid(rng, side, period)
    return edge(np.sin(u), uniform(rng, 1.0, 4.0))


def checks(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return a chessboard (side, side)."""
    u, v = rotated_grid(rng, side, 1.5 * period)
    return edge(np.sin(u) * np.sin(v), uniform(rng, 2.0, 6.0))


def spots(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return round spots on a turned square lattice (side, side)."""
    u, v = rotated_grid(rng, side, 1.2 * period)
    return edge(np.cos(u) + np.cos(v) - 0.6, uniform(rng, 1.5, 3.0))


def rings(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return circles about a random point (side, side)."""
    cx, cy = side * rng.random(2)
    x = np.arange(side, dtype=np.float32)
    radius = np.sqrt((x[None, :] - cx) ** 2 + (x[:, None] - cy) ** 2)
    return edge(np.sin(radius * (2 * np.pi / period)), uniform(rng, 1.0, 3.0)).astype(np.float32)


def value_noise(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return two octaves of interpolated random values (side, side)."""
    total = np.zeros((side, side), np.float32)
    for octave, weight in ((1, 0.65), (2, 0.35)):
        cells = int(np.ceil(octave * side / period)) + 2
        grid = rng.random((cells, cells)).astype(np.float32)
        total += weight * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return edge(total - 0.5, 4.0)


def gradient(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return a single slow wave (side, side): the plainest texture."""
    u, _ = rotated_grid(rng, side, 2.5 * side + period)
    return 0.5 + 0.5 * np.sin(u)


FIELDS: tuple[Field, ...] = (stripes, checks, spots, rings, value_noise, value_noise, gradient)


def random_field(rng: np.random.Generator, side: int, period: float) -> np.ndarray:
    """Return a field (side, side) float32 in [0, 1] of a random kind; ``period`` is in pixels."""
    kind = FIELDS[int(rng.integers(len(FIELDS)))]
    return kind(rng, side, period).astype(np.float32)


def random_color(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Return one RGB colour (3,) float32, grey to saturated, its brightest channel low to high."""
    hue = 2 * np.pi * (float(rng.random()) + np.array([0.0, 1.0, 2.0]) / 3)
    saturation, value = uniform(rng, 0.1, 0.8), uniform(rng, low, high)
    return (value * (1 - saturation * (0.5 + 0.5 * np.cos(hue)))).astype(np.float32)


def colored(field: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Blend two colours by a field (H, W); returns (H, W, 3) float32."""
    return first + field[..., None] * (second - first)
