"""A filled table: every number of the paper with ours beside it, and what is to be said below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sta.evaluation import SummaryRow
from sta.report.columns import TOO_FEW, has_too_few, probabilities, unpaired_on_k400

from .experiment import COSTS, Column, Experiment, Row, Table
from .findings import Filled, Findings
from .inputs import Inputs

# Of the statistics that an evaluation may add to its rows.
STATISTICS = ('top1_change_low', 'top1_change_high', 'p_value')
STATISTICS_NOTE = (
    'Change in top-1 against no pruning in points [95 % interval, paired bootstrap], exact McNemar '
    'test, over the same videos:'
)


class Place(NamedTuple):
    """A filled cell and where it stands.

    Attributes:
        row: its row.
        column: its column.
        filled: what it holds.
    """

    row: Row
    column: Column
    filled: Filled


@dataclass(frozen=True)
class FilledTable:
    """A table with our numbers.

    Attributes:
        table: what was asked for.
        cells: (rows, columns).
        is_smoke: whether ours are of the small models.
        footers: conditions of the evaluations it draws on.
    """

    table: Table
    cells: tuple[tuple[Filled, ...], ...]
    is_smoke: bool = False
    footers: tuple[str, ...] = ()

    def places(self) -> Iterator[Place]:
        """Every cell, row by row."""
        for row, cells in zip(self.table.rows, self.cells, strict=True):
            for column, filled in zip(self.table.columns, cells, strict=True):
                yield Place(row, column, filled)

    def needs(self) -> dict[str, int]:
        """What is missing, numbered from 1 in the order of the cells."""
        missing = dict.fromkeys(p.filled.needs for p in self.places() if p.filled.needs)
        return {text: number for number, text in enumerate(missing, start=1)}

    def notes(self) -> list[str]:
        """The lines below the table."""
        lines = list(self.table.notes)
        lines += [f'[{number}] needs {text}' for text, number in self.needs().items()]
        lines += [line for line in (self.largest_deviation(),) if line]
        lines += [*self.unpaired(), *self.statistics(), *self.footers]
        return lines

    def largest_deviation(self) -> str:
        """How far counted GFLOPs are from the published ones; '' where none are published."""
        counted = [
            place
            for place in self.places()
            if place.filled.cell.quantity == 'gflops' and place.filled.difference is not None
        ]
        if not counted:
            return ''
        worst = max(counted, key=lambda place: abs(place.filled.difference))
        numbers = [(place.filled.ours, place.filled.cell.published) for place in counted]
        rounded = sum(round(ours) == published for ours, published in numbers)
        cut = sum(int(ours) == published != round(ours) for ours, published in numbers)
        also = f', {cut} more are it once their decimals are cut' if cut else ''
        ours, published = worst.filled.ours, worst.filled.cell.published
        return (
            f'GFLOPs: {rounded} of {len(counted)} round to the published number{also}; largest '
            f'deviation {ours - published:+.2f} ({worst.row.label}: {published} published, '
            f'{ours:.2f} counted).'
        )

    def statistics(self) -> list[str]:
        """Intervals and p-values of the changes in top-1, where the evaluation gives them."""
        lines: dict[Experiment, str] = {}
        for row, column, filled in self.places():
            found = filled.row
            if found is None or not found.pruner or not (sure := _how_sure(found)):
                continue
            line = f'{row.label}, {column.heading.removesuffix(" %")}: {found.top1_change:+.2f}'
            lines.setdefault(filled.cell.experiment, f'{line} {sure}')
        return [STATISTICS_NOTE, *lines.values()] if lines else []

    def unpaired(self) -> list[str]:
        """How little one accuracy on K400 says, where the table has any."""
        on_k400 = (
            filled.cell.published is not None
            and filled.cell.quantity == 'top1'
            and filled.cell.experiment.setting.dataset == 'k400'
            for _, _, filled in self.places()
        )
        return [unpaired_on_k400()] if any(on_k400) else []


def _how_sure(row: SummaryRow) -> str:
    """Interval and p of a row's change; '' where there is none."""
    low, high, p_value = (getattr(row, name) for name in STATISTICS)
    if low is None or high is None:
        return f'[{TOO_FEW} videos]' if row.top1_change is not None and has_too_few(row) else ''
    p_text = '' if p_value is None else f', p {_with_sign(*probabilities([p_value]))}'
    return f'[{low:+.2f}, {high:+.2f}]{p_text}'


def _with_sign(text: str) -> str:
    return text if text.startswith('<') else f'= {text}'


def fill_table(table: Table, findings: Findings, inputs: Inputs, *, is_smoke: bool) -> FilledTable:
    """Put what was found beside what was published."""
    cells = tuple(tuple(findings.fill(cell, inputs) for cell in row.cells) for row in table.rows)
    names = [cell.experiment.setting.name for cell in table.cells() if cell.experiment]
    footers = (
        f'{name}: {findings.footers[name]}'
        for name in dict.fromkeys(names)
        if name in findings.footers
    )
    evaluated = any(filled.row is not None for row in cells for filled in row)
    return FilledTable(table, cells, is_smoke, tuple(footers) if evaluated else ())


def shown(table: FilledTable) -> tuple[list[str], list[list[str]]]:
    """Headings and columns of texts: published, ours and difference, as far as there are any."""
    headings, columns = [], []
    needs = table.needs()
    for i, column in enumerate(table.table.columns):
        cells = [row[i] for row in table.cells]
        published = any(filled.cell.published is not None for filled in cells)
        measured = any(filled.cell.quantity for filled in cells)
        if published:
            headings.append(f'{column.heading}, paper')
            columns.append([published_text(filled) for filled in cells])
        if measured:
            headings.append(f'{column.heading}, {"SMOKE" if table.is_smoke else "ours"}')
            columns.append([own_text(filled, column, needs) for filled in cells])
        if measured and published and _differs(cells, column):
            headings.append('diff')
            columns.append([difference_text(filled, column) for filled in cells])
    return headings, columns


def published_text(filled: Filled) -> str:
    """The number as the paper prints it."""
    return '' if filled.cell.published is None else f'{filled.cell.published}'


def own_text(filled: Filled, column: Column, needs: dict[str, int]) -> str:
    """Our number, or the mark of what it needs."""
    if filled.needs:
        return f'[{needs[filled.needs]}]'
    if filled.ours is None:
        return ''
    return filled.ours if isinstance(filled.ours, str) else f'{filled.ours:.{column.decimals}f}'


def difference_text(filled: Filled, column: Column) -> str:
    """Ours minus the paper's, with its sign."""
    if filled.difference is None:
        return ''
    return f'{round(filled.difference, column.decimals) + 0.0:+.{column.decimals}f}'


def _differs(cells: list[Filled], column: Column) -> bool:
    """A column of differences is worth its place only where one is there."""
    return column.comparable and any(filled.difference is not None for filled in cells)


def is_cost(filled: Filled) -> bool:
    """Whether a cell needs neither weights nor data."""
    return filled.cell.quantity in COSTS
