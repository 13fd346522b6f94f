"""Changes per class and new confusions as tables; one place for the screen and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from sta.evaluation import (
    SIGNIFICANT,
    ClassChange,
    ClassComparison,
    Confusion,
    confusions_by_growth,
)

from ..columns import UNKNOWN, counted, fixed
from ..console import table_of_texts
from .ends import both_ends

NOT_APPLICABLE = '-'


class Texts(NamedTuple):
    """A table before it is set for the screen or for Markdown.

    Attributes:
        title: above it.
        first: head of the column of names.
        names: cells of that column.
        columns: the others by their heads, which are two lines each.
        caption: below it.
    """

    title: str
    first: str
    names: list[str]
    columns: dict[str, list[str]]
    caption: str


def change_texts(comparison: ClassComparison, top: int) -> Texts:
    """The classes that fell and rose most, and all classes together.

    Args:
        comparison: of two variants.
        top: classes from either end.
    """
    ends = both_ends(comparison, top)
    columns = _columns([*ends.worst, *ends.best, comparison.total])
    names = [change.name for change in (*ends.worst, *ends.best)]
    if ends.hidden:
        for cells in columns.values():
            cells.insert(top, '')
        names.insert(top, f'... {counted(ends.hidden, "class", "classes")} between')
    return Texts(
        title=f'Classes: before = {comparison.before}, after = {comparison.after}',
        first='class',
        names=[*names, comparison.total.name],
        columns=columns,
        caption=_caption(comparison),
    )


def confusion_texts(comparison: ClassComparison, top: int) -> Texts:
    """The mistakes that became more frequent, at most ``top`` of them."""
    grown = grown_confusions(comparison, top)
    names = comparison.class_names
    if not grown:
        return Texts('Confusions that grew most', 'true -> predicted', ['none grew'], {}, '')
    return Texts(
        title='Confusions that grew most',
        first='true -> predicted',
        names=[f'{names[c.true]} -> {names[c.predicted]}' for c in grown],
        columns={
            'videos\nbefore': [str(c.before) for c in grown],
            'videos\nafter': [str(c.after) for c in grown],
            '\ngrowth': [f'{c.growth:+d}' for c in grown],
        },
        caption='videos: how many of the first class were taken for the second.',
    )


def grown_confusions(comparison: ClassComparison, top: int) -> list[Confusion]:
    """At most ``top`` mistakes, all of them more frequent than before."""
    ranked = confusions_by_growth(comparison.matrix_before, comparison.matrix_after)
    return [confusion for confusion in ranked[:top] if confusion.growth > 0]


def table_of(texts: Texts) -> Table:
    """Set a table for the screen."""
    heads, columns = list(texts.columns), list(texts.columns.values())
    return table_of_texts(texts.first, texts.names, heads, columns, texts.title, texts.caption)


def p_text(value: float | None) -> str:
    """A p-value to three decimals; never 0, which none is."""
    if value is None:
        return UNKNOWN
    return '<0.001' if value < 0.0005 else f'{value:.3f}'


def _columns(rows: Sequence[ClassChange]) -> dict[str, list[str]]:
    return {
        '\nvideos': [str(row.videos) for row in rows],
        'before\n%': fixed([row.before_percent for row in rows], 1),
        'after\n%': fixed([row.after_percent for row in rows], 1),
        'change\npoints': fixed([row.change_points for row in rows], 1, '+'),
        '\nlost': [str(row.lost) for row in rows],
        '\ngained': [str(row.gained) for row in rows],
        '\np': [p_text(row.p_value) for row in rows],
        'adj.\np': [
            NOT_APPLICABLE if row.label is None else p_text(row.adjusted_p) for row in rows
        ],
    }


def _caption(comparison: ClassComparison) -> str:
    seen = [change for change in comparison.changes if change.videos]
    clear = sum(change.is_significant for change in seen)
    parts = [
        'before, after: top-1. lost: videos right only before; gained: right only after. '
        'p: exact McNemar test of lost against gained. adj. p: the same after Benjamini and '
        f'Hochberg over {counted(len(seen), "class", "classes")}; below {SIGNIFICANT} in {clear}.'
    ]
    if without := len(comparison.changes) - len(seen):
        parts.append(f'Left out: {counted(without, "class", "classes")} without videos.')
    for name, number in zip((comparison.before, comparison.after), comparison.unpredicted):
        if number:
            parts.append(f'{name}: {counted(number, "video")} with scores that are no numbers.')
    return ' '.join(parts)
