"""A variant: one way to run one model. Everything downstream takes a list of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A named pruner with a schedule.

    Args:
        name: what tables and files call it, e.g. 'sta-64'.
        pruner: settings of the pruner, e.g. dict(type='STAPruner'); None keeps the backbone's own.
        schedule: None, an int, a list of ints, a list of dicts, see PruningSchedule.parse.
        family: what plots join into one curve, e.g. 'sta'; '' for no pruning. Draws that differ in
            their seed alone are one family.
        label: what the schedule is called, e.g. '64'; '' for no pruning.
    """

    name: str
    pruner: Mapping[str, Any] | None = None
    schedule: Any = None
    family: str = ''
    label: str = ''
