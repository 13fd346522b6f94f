"""The ten classes of the motion data set: five motions, each with its time-reversed twin.

A class is a motion and a sense of time. Both classes of a pair draw their scenes from the same
distribution and the second one plays them backwards, so no single frame and no unordered set of
frames can tell the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MotionClass:
    """One class: its name, the motion its scenes are drawn from, and its sense of time."""

    name: str
    motion: str
    is_reversed: bool


CLASSES: tuple[MotionClass, ...] = (
    MotionClass('left_to_right', 'horizontal', False),
    MotionClass('right_to_left', 'horizontal', True),
    MotionClass('moving_up', 'vertical', False),
    MotionClass('moving_down', 'vertical', True),
    MotionClass('approaching', 'scale', False),
    MotionClass('receding', 'scale', True),
    MotionClass('turning_clockwise', 'turn', False),
    MotionClass('turning_counter_clockwise', 'turn', True),
    MotionClass('meeting', 'meet', False),
    MotionClass('parting', 'meet', True),
)

CLASS_NAMES: tuple[str, ...] = tuple(item.name for item in CLASSES)


def label_of_index(index: int) -> int:
    """Return the label of clip ``index`` of any split: clips go round the classes in turn.

    The label depends on the index alone, so a longer split begins with the clips of a shorter one,
    and a multiple of ten clips is exactly balanced.
    """
    return index % len(CLASSES)


def twin_label(label: int) -> int:
    """Return the label of the time-reversed class."""
    return label ^ 1
