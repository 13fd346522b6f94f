"""What one check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """How a check came out; only BROKEN makes the environment unusable."""

    OK = 'ok'
    HEALED = 'healed'
    NOTE = 'note'
    SKIPPED = 'skipped'
    BROKEN = 'broken'


@dataclass(frozen=True)
class Finding:
    """One row of the doctor's table.

    Attributes:
        subject: what was looked at.
        found: version, result or first line of the error.
        required: range of versions, or what the check proves.
        state: how it came out.
        mend: command that repairs it, empty when there is nothing to repair.
    """

    subject: str
    found: str
    required: str
    state: State
    mend: str = ''


def first_line(error: BaseException) -> str:
    """Name and first line of an error, short enough for a table."""
    text = (str(error).strip().splitlines() or [''])[0]
    return f'{type(error).__name__}: {text}'[:200] if text else type(error).__name__
