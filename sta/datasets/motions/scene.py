"""A scene, drawn by lot and not rendered: textures, objects, their ways, and how hard they are.

Lengths and coordinates are in units of the frame's side, x to the right and y down, so that a
growing angle (radians, in :class:`Difficulty` degrees) turns clockwise on the screen. Times are a
share of the clip, grey levels out of 255.

Only ``Generator.random`` and ``Generator.integers`` are used: their streams are the same in every
numpy from 1.26 on. No outline or its filling is symmetric under a turn: each patch carries an
off-centre mark and a shade, so that a turning object is seen to turn whatever its outline is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """The knobs of the generator. A larger nuisance, or a smaller extent, is a harder data set.

    A pair is a (lowest, highest) value drawn uniformly.
    """

    # The motion that decides the class.
    shift: Range = (0.32, 0.52)  # horizontal and vertical: way of the object's centre
    zoom: Range = (1.7, 2.5)  # approaching: last side / first side
    turn_degrees: Range = (120.0, 240.0)
    meet_shift: Range = (0.34, 0.46)  # meeting: loss of distance between the two centres
    meet_share: Range = (0.35, 0.65)  # share of that loss that the first object walks

    # Objects. They are lit, the background is dimmer: the ranges overlap a little.
    object_value: Range = (110.0, 245.0)  # brightest channel of a colour
    background_value: Range = (30.0, 140.0)
    side: Range = (0.32, 0.50)
    meet_side: Range = (0.26, 0.36)  # also the side of the still companion in the other classes
    contrast: Range = (0.5, 1.0)  # of the object's colours against the background's mean
    # A second large object, nearly still, in the classes of a single one.
    companion_probability: float = 0.35

    # What the moving object does besides its class.
    nuisance_turn_degrees: float = 20.0  # at most, either sense
    nuisance_zoom: float = 1.15  # at most, either sense
    nuisance_shift: float = 0.09  # at most, any direction

    # Time.
    num_frames: tuple[int, int] = (28, 40)
    still_ends: float = 0.18  # at most, drawn for the start and for the end
    pause_probability: float = 0.35
    pause: Range = (0.08, 0.2)
    speed_change: float = 0.7  # 0 is a constant speed, 1 nearly stops somewhere

    # Surroundings.
    background_shift: Range = (0.0, 0.08)  # drift over the whole clip, any direction
    companion_shift: float = 0.05
    num_distractors: tuple[int, int] = (0, 3)
    distractor_side: Range = (0.07, 0.13)
    distractor_shift: float = 0.12
    distractor_jitter: float = 0.012

    # Camera.
    noise: Range = (1.0, 3.0)  # standard deviation of the luma noise
    flicker: float = 0.03  # standard deviation of the brightness gain of a frame


# The first lesson: the same motions, wider and of larger, brighter objects, alone before a dark and
# still background. A transformer that starts from random weights stays at chance for very long
# without it, and learns to tell turns and meetings from their reverse only on large objects.
EASY = Difficulty(
    turn_degrees=(150.0, 300.0),
    meet_shift=(0.45, 0.60),
    side=(0.45, 0.65),
    meet_side=(0.30, 0.42),
    object_value=(180.0, 250.0),
    background_value=(5.0, 30.0),
    contrast=(0.9, 1.0),
    companion_probability=0.0,
    nuisance_turn_degrees=5.0,
    nuisance_zoom=1.03,
    nuisance_shift=0.02,
    still_ends=0.05,
    pause_probability=0.0,
    background_shift=(0.0, 0.0),
    num_distractors=(0, 0),
    noise=(0.5, 1.0),
    flicker=0.0,
)


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
    'horizontal': partial(shifting, axis=0, sign=1),  # to the right
    'vertical': partial(shifting, axis=1, sign=-1),  # up
    'scale': scale,
    'turn': turn,
    'meet': meet,
}


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
