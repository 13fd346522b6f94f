"""Where an object is at every frame, and the five motions that the classes are made of.

Coordinates are in units of the frame's side, x to the right and y down, so that a growing angle
(radians) turns clockwise on the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sta.datasets.motions.difficulty import Difficulty
from sta.datasets.motions.textures import uniform

# Objects may lean over the frame's edge by this share of their radius.
OVERHANG = 0.25


@dataclass(frozen=True)
class Trajectory:
    """Centres (T, 2), sides (T,) and angles (T,) of one object at T frames."""

    centers: np.ndarray
    sides: np.ndarray
    angles: np.ndarray

    def reversed(self) -> Trajectory:
        """Return the same way walked backwards."""
        return Trajectory(self.centers[::-1], self.sides[::-1], self.angles[::-1])


Motion = Callable[[np.random.Generator, int, Difficulty], tuple[Trajectory, ...]]


def progress(rng: np.random.Generator, num_frames: int, difficulty: Difficulty) -> np.ndarray:
    """Draw how far the motion has come at each frame: (T,) from 0 to 1, never falling.

    The speed is a random wave, zero at both ends for a random while and sometimes in a pause. Its
    distribution is the same forwards and backwards, so the speed tells nothing about the class.
    """
    time = (np.arange(num_frames - 1) + 0.5) / (num_frames - 1)
    cycles, phase = uniform(rng, 0.5, 1.5), 2 * np.pi * float(rng.random())
    change = difficulty.speed_change * float(rng.random())
    speed = 1 + change * np.cos(2 * np.pi * cycles * (time - 0.5) + phase)
    first, last = difficulty.still_ends * rng.random(2)
    speed *= (time >= first) & (time <= 1 - last)
    has_pause = float(rng.random()) < difficulty.pause_probability
    length, middle = uniform(rng, *difficulty.pause), uniform(rng, 0.35, 0.65)
    if has_pause:
        speed *= np.abs(time - middle) > length / 2
    way = np.concatenate([[0.0], np.cumsum(speed)])
    return way / way[-1]


def drift(rng: np.random.Generator, num_frames: int, distance: float) -> np.ndarray:
    """Return a straight, even way (T, 2) of the given length in a random direction, about zero."""
    angle = 2 * np.pi * float(rng.random())
    time = np.linspace(-0.5, 0.5, num_frames)
    return distance * time[:, None] * np.array([np.cos(angle), np.sin(angle)])


def place_inside(rng: np.random.Generator, centers: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Move whole ways, unchanged in form, to a random place where every object is in the frame.

    Args:
        rng: source of the place.
        centers: (..., T, 2); all objects are moved by the same amount.
        sides: (..., T).

    Returns:
        The moved centres. Ways too long for the frame are put half way between its edges.
    """
    margin = (1 - OVERHANG) * sides[..., None] / 2
    every = tuple(range(centers.ndim - 1))
    low, high = (margin - centers).max(axis=every), (1 - margin - centers).min(axis=every)
    return centers + np.where(low < high, low + (high - low) * rng.random(2), (low + high) / 2)


def wandering(rng: np.random.Generator, num_frames: int, difficulty: Difficulty) -> Trajectory:
    """Draw an object near the origin that does a little of everything: the base of a motion."""
    time = np.linspace(-0.5, 0.5, num_frames)
    turn = np.deg2rad(difficulty.nuisance_turn_degrees) * uniform(rng, -1, 1)
    zoom = np.log(difficulty.nuisance_zoom) * uniform(rng, -1, 1)
    centers = drift(rng, num_frames, difficulty.nuisance_shift * rng.random())
    sides = uniform(rng, *difficulty.side) * np.exp(zoom * time)
    return Trajectory(centers, sides, 2 * np.pi * rng.random() + turn * time)


def shifting(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty, *, axis: int, sign: int
) -> tuple[Trajectory, ...]:
    """Draw an object that walks along one axis (0: x, 1: y) in the direction of ``sign``."""
    base = wandering(rng, num_frames, difficulty)
    centers = base.centers.copy()
    way = sign * uniform(rng, *difficulty.shift) * progress(rng, num_frames, difficulty)
    centers[:, axis] = way
    return (Trajectory(place_inside(rng, centers, base.sides), base.sides, base.angles),)


def horizontal(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty
) -> tuple[Trajectory, ...]:
    """Draw an object that walks to the right."""
    return shifting(rng, num_frames, difficulty, axis=0, sign=1)


def vertical(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty
) -> tuple[Trajectory, ...]:
    """Draw an object that walks up."""
    return shifting(rng, num_frames, difficulty, axis=1, sign=-1)


def scale(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty
) -> tuple[Trajectory, ...]:
    """Draw an object that grows about its usual side."""
    base = wandering(rng, num_frames, difficulty)
    growth = np.log(uniform(rng, *difficulty.zoom))
    size = float(np.sqrt(base.sides[0] * base.sides[-1]))
    sides = size * np.exp(growth * (progress(rng, num_frames, difficulty) - 0.5))
    return (Trajectory(place_inside(rng, base.centers, sides), sides, base.angles),)


def turn(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty
) -> tuple[Trajectory, ...]:
    """Draw an object that turns clockwise in its place."""
    base = wandering(rng, num_frames, difficulty)
    sweep = np.deg2rad(uniform(rng, *difficulty.turn_degrees))
    angles = base.angles[0] + sweep * progress(rng, num_frames, difficulty)
    return (Trajectory(place_inside(rng, base.centers, base.sides), base.sides, angles),)


def meet(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty
) -> tuple[Trajectory, ...]:
    """Draw two objects that come together along a random line until they nearly touch."""
    bases = [wandering(rng, num_frames, difficulty) for _ in range(2)]
    sides = np.array([uniform(rng, *difficulty.meet_side) for _ in bases])
    direction = 2 * np.pi * float(rng.random())
    line = np.array([np.cos(direction), np.sin(direction)])
    come = uniform(rng, *difficulty.meet_shift) * (1 - progress(rng, num_frames, difficulty))
    share = uniform(rng, *difficulty.meet_share)
    near = sides.mean() * uniform(rng, 0.85, 1.05)
    ways = (-(near / 2 + share * come), near / 2 + (1 - share) * come)
    common = drift(rng, num_frames, difficulty.nuisance_shift * rng.random())
    centers = np.stack([common + way[:, None] * line for way in ways])
    sides = np.repeat(sides[:, None], num_frames, axis=1)
    # Both are placed as one: each alone would change their distance.
    centers = place_inside(rng, centers, sides)
    return tuple(
        Trajectory(center, side, base.angles)
        for center, side, base in zip(centers, sides, bases, strict=True)
    )


MOTIONS: dict[str, Motion] = {
    'horizontal': horizontal,
    'vertical': vertical,
    'scale': scale,
    'turn': turn,
    'meet': meet,
}
