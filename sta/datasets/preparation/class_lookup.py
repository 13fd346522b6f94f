"""Find classes by names that people spell in their own way."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from sta.errors import DataError


class ClassLookup:
    """Labels by class name; 'arm_wrestling' and 'Arm Wrestling' are 'arm wrestling'.

    Args:
        names: class names by label.
        title: whose they are, e.g. 'Kinetics-400'.
        guessed: nobody said that they are the classes of a list: they are if all its class folders
            bear their names.
    """

    def __init__(self, names: Sequence[str], title: str, *, guessed: bool = False) -> None:
        self.names, self.title, self.guessed = tuple(names), title, guessed
        self._exact = {name: label for label, name in enumerate(names)}
        self._loose: dict[str, int] = {}
        for label, name in enumerate(names):
            self._loose.setdefault(plain(name), label)

    def find(self, name: str) -> int | None:
        """Label of a class; None where there is no such class."""
        label = self._exact.get(name)
        return self._loose.get(plain(name)) if label is None else label

    def labels(self, names: Iterable[str], source: str) -> list[int]:
        """Labels of many names.

        Raises:
            DataError: some are unknown; names them, with what may have been meant.
        """
        names = list(names)
        found = [self.find(name) for name in names]
        unknown = list(dict.fromkeys(n for n, label in zip(names, found) if label is None))
        if not unknown:
            return found
        said = ', '.join(self._with_suggestion(name) for name in unknown[:3])
        more = f' and {len(unknown) - 3} more' if len(unknown) > 3 else ''
        raise DataError(
            f'{source}: {len(unknown)} of {len(set(names))} class names are not among the '
            f'{len(self.names)} of {self.title}: {said}{more}'
        )

    def _with_suggestion(self, name: str) -> str:
        close = difflib.get_close_matches(plain(name), self._loose, n=1, cutoff=0.6)
        return f'{name!r}' + (f' (is it {self.names[self._loose[close[0]]]!r}?)' if close else '')


def plain(name: str) -> str:
    """A name without case, blanks, underscores and punctuation, for comparing.

    mmaction2's scripts put underscores for blanks and hyphens for brackets in names of folders.
    """
    return re.sub(r'[\W_]+', ' ', name.casefold()).strip()
