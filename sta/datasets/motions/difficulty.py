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
    shift: Range = (0.28, 0.48)  # horizontal and vertical: way of the object's centre
    zoom: Range = (1.6, 2.3)  # approaching: last side / first side
    turn_degrees: Range = (75.0, 160.0)
    meet_shift: Range = (0.30, 0.42)  # meeting: loss of distance between the two centres
    meet_share: Range = (0.35, 0.65)  # share of that loss that the first object walks

    # Objects. They are lit, the background is dimmer: the ranges overlap a little.
    object_value: Range = (110.0, 245.0)  # brightest channel of a colour
    background_value: Range = (30.0, 140.0)
    side: Range = (0.24, 0.42)
    meet_side: Range = (0.20, 0.30)  # also the side of the still companion in the other classes
    contrast: Range = (0.35, 1.0)  # of the object's colours against the background's mean
    companion_probability: float = (
        0.5  # a second large object, nearly still, in single-object classes
    )

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
    background_shift: Range = (0.0, 0.14)  # drift over the whole clip, any direction
    companion_shift: float = 0.05
    num_distractors: tuple[int, int] = (1, 4)
    distractor_side: Range = (0.07, 0.13)
    distractor_shift: float = 0.12
    distractor_jitter: float = 0.012

    # Camera.
    noise: Range = (1.0, 3.0)  # standard deviation of the luma noise
    flicker: float = 0.03  # standard deviation of the brightness gain of a frame
