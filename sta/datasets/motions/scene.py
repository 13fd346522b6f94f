"""A scene: drifting background, objects on their ways and the light, drawn by lot, not rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sta.datasets.motions.difficulty import Difficulty
from sta.datasets.motions.shapes import random_patch
from sta.datasets.motions.textures import colored, random_color, random_field, uniform
from sta.datasets.motions.trajectories import MOTIONS, Trajectory, drift, place_inside

# A patch is drawn a little larger than it is ever shown: warps then only shrink it.
PATCH_MARGIN = 1.1
MIN_PATCH_SIDE = 8


@dataclass(frozen=True)
class Sprite:
    """A patch (P, P, 4), colours multiplied by coverage, and its way over the frames."""

    patch: np.ndarray
    trajectory: Trajectory

    def reversed(self) -> Sprite:
        """Return the same object walking backwards."""
        return replace(self, trajectory=self.trajectory.reversed())


@dataclass(frozen=True)
class Scene:
    """All that a clip shows, before the camera's noise.

    Attributes:
        size: side of a frame in pixels.
        background: (B, B, 3) float32, larger than a frame.
        offsets: (T, 2) x and y of the frame's corner in the background, in pixels.
        sprites: every object from back to front.
        actors: places in ``sprites`` of the one or two objects that perform the class.
        gains: (T,) brightness of each frame.
    """

    size: int
    background: np.ndarray
    offsets: np.ndarray
    sprites: tuple[Sprite, ...]
    actors: tuple[int, ...]
    gains: np.ndarray

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.gains)

    def reversed(self) -> Scene:
        """Return the scene with time running backwards: frame t is this scene's frame T-1-t."""
        return replace(
            self,
            offsets=self.offsets[::-1],
            sprites=tuple(sprite.reversed() for sprite in self.sprites),
            gains=self.gains[::-1],
        )

    def actor_trajectories(self) -> tuple[Trajectory, ...]:
        """Return the ways of the objects that perform the class."""
        return tuple(self.sprites[place].trajectory for place in self.actors)


def sample_scene(
    rng: np.random.Generator, motion: str, *, size: int, difficulty: Difficulty
) -> Scene:
    """Draw a scene of one motion, played forwards.

    Args:
        rng: source of all choices.
        motion: a key of ``MOTIONS``.
        size: side of a frame in pixels.
        difficulty: the amount of everything.
    """
    low, high = difficulty.num_frames
    num_frames = int(rng.integers(low, high + 1))
    actors = MOTIONS[motion](rng, num_frames, difficulty)
    background, offsets = _background(rng, num_frames, size, difficulty)
    behind = _companions(rng, actors, difficulty)
    distractors = _distractors(rng, num_frames, difficulty)
    num_front = int(rng.integers(0, len(distractors) + 1)) // 2
    behind += distractors[num_front:]
    ways = [*behind, *actors, *distractors[:num_front]]
    mean_color = background.mean(axis=(0, 1))
    return Scene(
        size=size,
        background=background,
        offsets=offsets,
        sprites=tuple(_sprite(rng, way, size, mean_color, difficulty) for way in ways),
        actors=tuple(range(len(behind), len(behind) + len(actors))),
        gains=_gains(rng, num_frames, difficulty),
    )


def _background(
    rng: np.random.Generator, num_frames: int, size: int, difficulty: Difficulty
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a texture (B, B, 3) and the ways of the frame over it (T, 2) in pixels."""
    margin = int(np.ceil(size * difficulty.background_shift[1] / 2)) + 2
    side = size + 2 * margin
    field = random_field(rng, side, size * uniform(rng, 0.16, 0.5))
    first, second = (random_color(rng, *difficulty.background_value) for _ in range(2))
    texture = colored(field, first, first + uniform(rng, 0.25, 0.8) * (second - first))
    distance = size * uniform(rng, *difficulty.background_shift)
    return texture, margin + drift(rng, num_frames, distance)


def _companions(
    rng: np.random.Generator, actors: tuple[Trajectory, ...], difficulty: Difficulty
) -> list[Trajectory]:
    """Draw, for a lone actor, sometimes a second large and nearly still object away from its way.

    It looks like one of two that meet or part, so that two large objects do not give those away.
    """
    present = float(rng.random()) < difficulty.companion_probability
    if len(actors) > 1 or not present:
        return []
    num_frames = len(actors[0].angles)
    sides = np.full(num_frames, uniform(rng, *difficulty.meet_side))
    shift = drift(rng, num_frames, difficulty.companion_shift * rng.random())
    ways = [place_inside(rng, shift, sides) for _ in range(8)]
    gaps = [np.linalg.norm(way - actors[0].centers, axis=1).min() for way in ways]
    best = int(np.argmax(gaps))
    angle = 2 * np.pi * float(rng.random())
    return [Trajectory(ways[best], sides, np.full(num_frames, angle))]


def _distractors(
    rng: np.random.Generator, num_frames: int, difficulty: Difficulty
) -> list[Trajectory]:
    """Draw small objects, each of which stands still, shakes or drifts in a random direction."""
    low, high = difficulty.num_distractors
    ways = []
    for _ in range(int(rng.integers(low, high + 1))):
        centers = np.tile(rng.random(2), (num_frames, 1))
        behaviour = int(rng.integers(3))
        if behaviour == 1:
            centers += difficulty.distractor_jitter * (2 * rng.random((num_frames, 2)) - 1)
        if behaviour == 2:
            centers += drift(rng, num_frames, difficulty.distractor_shift * rng.random())
        sides = np.full(num_frames, uniform(rng, *difficulty.distractor_side))
        angle = 2 * np.pi * float(rng.random())
        ways.append(Trajectory(centers, sides, np.full(num_frames, angle)))
    return ways


def _sprite(
    rng: np.random.Generator,
    trajectory: Trajectory,
    size: int,
    background: np.ndarray,
    difficulty: Difficulty,
) -> Sprite:
    """Draw the looks of one object; what it looks like does not depend on its way."""
    side = max(int(np.ceil(PATCH_MARGIN * size * trajectory.sides.max())), MIN_PATCH_SIDE)
    patch = random_patch(
        rng,
        side=side,
        period=side * uniform(rng, 0.25, 0.6),
        background=background,
        contrast=uniform(rng, *difficulty.contrast),
        value=difficulty.object_value,
    )
    return Sprite(patch, trajectory)


def _gains(rng: np.random.Generator, num_frames: int, difficulty: Difficulty) -> np.ndarray:
    """Draw the brightness of each frame (T,): a random walk's worth of flicker about a mean."""
    noise = (2 * rng.random(num_frames) - 1) * np.sqrt(3.0)
    smooth = np.convolve(noise, [0.5, 0.7, 0.5], mode='same')
    return uniform(rng, 0.85, 1.1) * (1 + difficulty.flicker * smooth)
