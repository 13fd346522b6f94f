"""Which classes are shown where there are too many: those that fell and those that rose most."""

from __future__ import annotations

from typing import NamedTuple

from sta.evaluation import ClassChange, ClassComparison


class Ends(NamedTuple):
    """Both ends of all classes that have videos, ranked by change, the worst first.

    Attributes:
        worst: the beginning; all classes where both ends would meet.
        hidden: how many lie between.
        best: the end.
    """

    worst: tuple[ClassChange, ...]
    hidden: int
    best: tuple[ClassChange, ...]


def both_ends(comparison: ClassComparison, top: int) -> Ends:
    """The ``top`` classes of either end.

    Of equal changes the one with more videos behind it lies further out, then the lower label.
    """
    seen = [change for change in comparison.changes if change.videos]
    ranked = tuple(sorted(seen, key=lambda c: (c.change_points, c.gained - c.lost, c.label)))
    if len(ranked) <= 2 * top:
        return Ends(ranked, 0, ())
    return Ends(ranked[:top], len(ranked) - 2 * top, ranked[-top:])
