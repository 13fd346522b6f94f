"""Tables on the screen: readable on 80 columns, and plain text in a batch job's log."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from rich.box import Box
from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from sta.evaluation import Cost, EvaluationResult, SummaryRow, shown_rows, summarise

from .columns import COLUMNS, GFLOP_NOTE, counted, fixed, footer, scaled, whole

LOG_WIDTH = 100
NARROWEST = 80
LEAST_NAME = 12
# A rule below the header and nothing else: ASCII, so that it survives any log and any locale.
RULED = Box('    \n    \n -- \n    \n    \n    \n    \n    \n', ascii=True)


def accuracy_table(rows: Sequence[SummaryRow], *, title: str, footer: str) -> Table:
    """Accuracy next to cost, a line per variant.

    Args:
        rows: see :func:`sta.evaluation.shown_rows`.
        title: above the table.
        footer: below it.
    """
    heads = [column.head for column in COLUMNS]
    columns = [column.cells(rows) for column in COLUMNS]
    return table_of_texts('variant', [row.name for row in rows], heads, columns, title, footer)


def cost_table(
    costs: Sequence[tuple[str, Cost]],
    *,
    views: int,
    title: str = '',
    unpruned_gflops: float | None = None,
) -> Table:
    """What variants cost, before any data is read.

    Args:
        costs: name and cost of each variant.
        views: views per video.
        title: above the table.
        unpruned_gflops: of a view without pruning, which savings are against; default that of the
            variant which drops nothing.
    """
    names, found = [name for name, _ in costs], [cost for _, cost in costs]
    per_view = [cost.gflops_per_view for cost in found]
    columns = {
        'tokens\nunpruned': whole([cost.num_tokens for cost in found]),
        'tokens after\neach stage': [_stages(cost) for cost in found],
        'GFLOPs\n/view': scaled(per_view),
        'GFLOPs\n/video': scaled([views * gflops for gflops in per_view]),
        'saved\n%': fixed(_savings(found, unpruned_gflops), 1),
        'params\nM': fixed([cost.num_parameters / 1e6 for cost in found], 2),
    }
    note = f'{counted(views, "view")} per video. {GFLOP_NOTE} saved: against no pruning.'
    return table_of_texts('variant', names, list(columns), list(columns.values()), title, note)


def print_accuracy_table(result: EvaluationResult, console: Console | None = None) -> None:
    """Summarise an evaluation and print it with its footer."""
    rows = summarise(result)
    title = 'Accuracy and cost'
    table = accuracy_table(shown_rows(rows), title=title, footer=footer(result, rows))
    print_table(table, console)
    for line in (*left_out_lines(result), *not_finite_lines(result)):
        (console or Console()).print(line, markup=False, highlight=False, soft_wrap=True)


def left_out_lines(result: EvaluationResult, most: int = 10) -> list[str]:
    """The first videos that were left out and why, a line each; nothing where none was."""
    if not result.left_out:
        return []
    lines = [f'left out, since they cannot be decoded: {counted(len(result.left_out), "video")}']
    lines += [f'  {video.name}: {video.reason}' for video in result.left_out[:most]]
    more = len(result.left_out) - most
    return lines + ([f'  ... and {more} more, see left_out.csv'] if more > 0 else [])


def not_finite_lines(result: EvaluationResult, most: int = 10) -> list[str]:
    """The first videos whose scores are not finite, a line each; nothing where all are."""
    found = result.not_finite
    if not found:
        return []
    lines = [
        f'scores not finite in {result.precision}, counted as wrong: {counted(len(found), "video")}'
    ]
    lines += [f'  {video.name}: {", ".join(video.variants)}' for video in found[:most]]
    more = len(found) - most
    return lines + ([f'  ... and {more} more, see results.json'] if more > 0 else [])


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table without losing a digit.

    Args:
        table: from this module.
        console: where to; default standard output, 100 columns wide when that is no terminal. A
            terminal of less than 80 columns, or than the longest words need, breaks lines itself.
    """
    if console is None:
        console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    least = sum((column.min_width or 0) + 1 for column in table.columns)
    options = console.options.update(width=max(console.width, NARROWEST, least))
    # In the table a path longer than its lines would be broken anywhere; here only between words.
    title, table.title = table.title, None
    if title:
        words = _encodable(str(title), console.encoding)
        lines = textwrap.wrap(
            words, options.max_width, break_long_words=False, break_on_hyphens=False
        )
        console.print(Text('\n'.join(lines), style='bold'), crop=False, soft_wrap=True)
    segments = [
        Segment(_encodable(segment.text, console.encoding), segment.style)
        for segment in console.render(table, options)
    ]
    table.title = title
    console.print(Segments(segments), crop=False, soft_wrap=True, end='')


def _least_width(head: str, cells: Sequence[str]) -> int:
    """Characters of a column's longest word: rich would cut it, or leave the column out."""
    return max((len(word) for text in (head, *cells) for word in text.split()), default=0)


def table_of_texts(
    first: str,
    names: Sequence[str],
    heads: Sequence[str],
    columns: Sequence[Sequence[str]],
    title: str,
    caption: str,
) -> Table:
    """A table in the style of this module: one left-hand column of names, figures to the right."""
    # Cells are Text, because a name such as 'sta-[48, 96]' would else be read as markup.
    table = Table(
        title=Text(title, style='bold') if title else None,
        caption=Text(caption, style='dim'),
        title_justify='left',
        caption_justify='left',
        box=RULED,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    least = min(_least_width(first, names), LEAST_NAME)
    table.add_column(Text(f'\n{first}'), overflow='fold', min_width=least)
    for head, cells in zip(heads, columns):
        single = all(' ' not in cell for cell in cells)  # lists of numbers may wrap, numbers not
        least = _least_width(head, cells)
        table.add_column(
            Text(head), justify='right', overflow='fold', no_wrap=single, min_width=least
        )
    for name, *cells in zip(names, *columns, strict=True):
        table.add_row(Text(name), *map(Text, cells))
    return table


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, 'backslashreplace').decode(encoding)


def _stages(cost: Cost) -> str:
    return ' '.join(map(str, cost.tokens_after_stages)) or '-'


def _savings(costs: Sequence[Cost], unpruned: float | None) -> list[float | None]:
    if unpruned is None:
        unpruned = next((cost.gflops_per_view for cost in costs if cost.drops_nothing), None)
    if unpruned is None:
        return [None] * len(costs)
    return [100.0 * (1.0 - cost.gflops_per_view / unpruned) for cost in costs]
