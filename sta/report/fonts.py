"""Letters that matplotlib's own font lacks, such as those of Chinese names of classes."""

from __future__ import annotations

import functools
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager, get_font
from matplotlib.text import Text

LACKING = re.compile(r'Glyph (\d+) ')


def draw(figure: Figure, target: Any, *, format: str, metadata: dict[str, Any]) -> None:
    """``figure.savefig``, with installed fonts for letters that the figure's own font lacks.

    Letters that no installed font has are drawn as boxes and said once on stderr.

    Args:
        figure: drawn a second time, with other fonts, where letters are lacking.
        target: a path, or a file that can be written anew from its start.
        format: 'png' or 'svg'.
        metadata: of the file, see ``savefig``.
    """
    lacking = _save(figure, target, format, metadata)
    families = [] if not lacking else list(_families(lacking))
    if families:
        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *families])
        if hasattr(target, 'truncate'):
            target.seek(0)
            target.truncate()
        lacking = _save(figure, target, format, metadata)
    if lacking:
        _say_once(''.join(sorted(map(chr, lacking))))


def _save(figure: Figure, target: Any, format: str, metadata: dict[str, Any]) -> set[int]:
    """Code points that were drawn as boxes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        figure.savefig(target, format=format, metadata=metadata)
    lacking = set()
    for warning in caught:
        if found := LACKING.match(str(warning.message)):
            lacking.add(int(found[1]))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return lacking


def _families(lacking: set[int]) -> Iterator[str]:
    """Installed fonts that have the letters between them, those with most of them first."""
    letters = {entry.name: _letters(entry) & lacking for entry in _installed()}
    left = set(lacking)
    while left and letters:
        best = max(sorted(letters), key=lambda name: len(letters[name] & left))
        if not letters[best] & left:
            return
        left -= letters.pop(best)
        yield best


def _installed() -> Iterator[FontEntry]:
    """Upright fonts of usual weight; matplotlib's own have symbols in the places of letters."""
    own = Path(matplotlib.get_data_path())
    for entry in fontManager.ttflist:
        usual = entry.style == 'normal' and entry.weight in (400, 'normal', 'regular', 'book')
        if usual and own not in Path(entry.fname).parents:
            yield entry


def _letters(entry: FontEntry) -> set[int]:
    try:
        return set(get_font(entry.fname).get_charmap())
    except (OSError, RuntimeError):  # gone since matplotlib listed it, or none that it can read
        return set()


@functools.cache
def _say_once(letters: str) -> None:
    letters = letters.encode('utf-8', 'backslashreplace').decode()
    print(
        f'note: no installed font has {letters}, which plots show as boxes; tables name them. '
        'A font for them (Debian, Ubuntu: fonts-noto-cjk for Chinese, Japanese and Korean) mends '
        'it',
        file=sys.stderr,
    )
