"""What one check of the doctor found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from sta.repair import install

ABSENT = 'absent'


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
        installs: requirements that this command installs and nothing else, so that it can be joined
            with others of its kind.
    """

    subject: str
    found: str
    required: str
    state: State
    mend: str = ''
    installs: tuple[str, ...] = ()

    @classmethod
    def to_install(
        cls, subject: str, found: str, required: str, state: State, *installs: str
    ) -> Finding:
        """A finding that plain installation of some requirements mends."""
        return cls(subject, found, required, state, install(*installs), installs)

    @property
    def is_usable(self) -> bool:
        """Whether what depends on the subject is worth trying."""
        return self.state is not State.BROKEN and not self.found.startswith(ABSENT)


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        subject: name of its row, or of its first.
        run: looks, given the subjects that are known not to be usable.
    """

    subject: str
    run: Callable[[set[str]], Iterable[Finding]]
