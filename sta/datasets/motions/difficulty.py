"""Every amount that makes the data set easier or harder, in one place.

Lengths are in units of the frame's side, angles in degrees, times as a share of the clip, grey
levels out of 255. A pair is a (lowest, highest) value drawn uniformly.
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """The knobs of the generator. A larger nuisance, or a smaller extent, is a harder data set."""

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
