"""One clip of the data set: a pure function of (seed, split, index)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sta.datasets.motions.classes import CLASSES, label_of_index
from sta.datasets.motions.difficulty import EASY, Difficulty
from sta.datasets.motions.encode import encode_mp4
from sta.datasets.motions.render import add_noise, render_scene
from sta.datasets.motions.scene import Scene, sample_scene
from sta.datasets.motions.textures import uniform

# Part of the seed: two splits never share a random stream, whatever the user's seed.
SPLIT_CODES: dict[str, int] = {'train': 1, 'val': 2, 'train_easy': 3}
DIFFICULTIES: dict[str, Difficulty] = {'train_easy': EASY}


@dataclass(frozen=True)
class ClipSource:
    """All that the clips of one split depend on besides their index.

    Attributes:
        split: 'train', 'val' or 'train_easy'.
        seed: not negative.
        size: side of a frame in pixels, a multiple of 16 from 64 on: decord cannot read all others.
        difficulty: the amount of everything.
    """

    split: str
    seed: int = 0
    size: int = 112
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        if self.split not in SPLIT_CODES:
            raise ValueError(
                f'unknown split {self.split!r}: choose one of {", ".join(SPLIT_CODES)}'
            )
        if self.seed < 0:
            raise ValueError(f'the seed must not be negative, got {self.seed}')
        if self.size < 64 or self.size % 16:
            raise ValueError(
                f'the frame size must be a multiple of 16 and at least 64, got {self.size}'
            )

    def generators(self, index: int) -> tuple[np.random.Generator, np.random.Generator]:
        """Return the random generators of clip ``index``: one for its scene, one for its noise."""
        sequence = np.random.SeedSequence([self.seed, SPLIT_CODES[self.split], index])
        scene, noise = (np.random.Generator(np.random.PCG64(child)) for child in sequence.spawn(2))
        return scene, noise

    def scene(self, index: int) -> Scene:
        """Return the scene of clip ``index``, already reversed where its class asks for it."""
        motion_class = CLASSES[label_of_index(index)]
        rng, _ = self.generators(index)
        scene = sample_scene(rng, motion_class.motion, size=self.size, difficulty=self.difficulty)
        return scene.reversed() if motion_class.is_reversed else scene

    def frames(self, index: int) -> np.ndarray:
        """Return the frames (T, size, size, 3) uint8 RGB of clip ``index``."""
        _, rng = self.generators(index)
        deviation = uniform(rng, *self.difficulty.noise)
        return add_noise(render_scene(self.scene(index)), rng, deviation)

    def mp4(self, index: int) -> bytes:
        """Return clip ``index`` as the bytes of an mp4 file."""
        return encode_mp4(self.frames(index))
