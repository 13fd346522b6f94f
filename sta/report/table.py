"""Tables: typed columns once, rendered for the terminal, Markdown, LaTeX, CSV, JSON and HTML.

A table is columns and rows. A :class:`Column` says under which name programs find its value, which
head people see above it, how the value follows from a row, and how a whole column of values becomes
text; so a column more is one entry in a list of columns, whatever the output::

    SPEEDS = (
        Column('name', 'variant'),  # the attribute or key ``name`` of a row, as it is
        Column('ms', 'ms\nmedian', decimals(1)),  # programs get the number, people one decimal
        Column('', 'ms\nquartiles', intervals, lambda row: (row.low, row.high)),  # people only
        Column('batch_size'),  # programs only
    )
    table = Table(SPEEDS, rows, title='Speeds', note='below it')
    print_table(table)
    text = '\n'.join(table.markdown()) + table.csv() + table.latex('tab:speeds') + table.html()
    json.dumps(table.records())

:data:`ACCURACY` are the columns of an evaluation. Whoever shows rows inside of something larger
takes ``column.of(...)``: the same columns, of rows that hold such a row.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import math
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeGuard, TypeVar

import numpy as np
import rich.table
from jinja2 import Environment
from rich.box import Box
from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

from sta.evaluation import FEWEST_VIDEOS, SummaryRow, standard_error

Row = TypeVar('Row')
Holder = TypeVar('Holder')

UNKNOWN = 'n/a'
TOO_FEW = 'too few'  # videos for an interval, a standard error or a p
K400_VIDEOS, K400_TOP1 = 19_881, 85  # of the validation list, and of the paper's ViT-L
GFLOP_NOTE = '1 GFLOP = 1e9 multiply-accumulates.'
LOG_WIDTH = 100
NARROWEST = 80
LEAST_NAME = 12
# A rule below the header and nothing else: ASCII, so that it survives any log and any locale.
RULED = Box('    \n    \n -- \n    \n    \n    \n    \n    \n', ascii=True)
_IN_LATEX = {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    **{character: f'\\{character}' for character in '&%$#_{}'},
}


_IN_HTML = """\
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}">
<table class="sortable">
<caption>{{ table.title }}</caption>
<thead><tr>
{% for head in table.headings %}
<th scope="col" aria-sort="none"><button type="button">{{ head }}</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for line in table.lines() %}
<tr><th scope="row">{{ line[0] }}</th>{% for cell in line[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
"""


# How a column of values becomes text; a value that is text already stands as it is.


def as_text(values: Sequence[Any]) -> list[str]:
    """Values as Python prints them; nothing for None."""
    return ['' if value is None else str(value) for value in values]


def fixed(values: Sequence[float | str | None], decimals: int, sign: str = '') -> list[str]:
    """Numbers with the same decimals; never a negative zero. ``sign='+'`` shows plus signs."""
    return [_fixed(value, decimals, sign) for value in values]


def decimals(number: int, sign: str = '', unknown: str = UNKNOWN) -> Callable[..., list[str]]:
    """:func:`fixed` for a column, with what stands where there is no number."""
    return lambda values: [_fixed(value, number, sign, unknown) for value in values]


def scaled(values: Sequence[float | str | None]) -> list[str]:
    """Numbers with as many decimals as the largest of the column deserves, and no more."""
    largest = max((abs(v) for v in values if _is_finite(v)), default=0.0)
    return fixed(values, 3 if largest < 10 else 2 if largest < 1000 else 1)


def intervals(pairs: Sequence[Any], places: int | None = None, sign: str = '+') -> list[str]:
    """Intervals such as -1.25..+0.40, without a space so that no line breaks inside.

    Args:
        pairs: of both ends each, or text.
        places: decimals; default 2, or one where any reaches 10 points: the column stays narrow,
            and no more is known.
        sign: '+' shows plus signs.
    """
    if places is None:
        known = [end for pair in pairs if not isinstance(pair, str) for end in pair]
        places = 2 if max((abs(end) for end in known if _is_finite(end)), default=0.0) < 10 else 1
    texts = [pair if isinstance(pair, str) else fixed(pair, places, sign) for pair in pairs]
    return [
        UNKNOWN if UNKNOWN in ends else ends if isinstance(ends, str) else '..'.join(ends)
        for ends in texts
    ]


def probabilities(values: Sequence[float | str | None]) -> list[str]:
    """Three decimals; what would be 0.000 is said to be less than 0.001, since no p is 0."""
    texts = zip(values, fixed(values, 3), strict=True)
    return ['<0.001' if _is_finite(value) and value < 0.0005 else text for value, text in texts]


def counted(number: int, noun: str, plural: str = '') -> str:
    """'1 view', '2 views'; ``plural`` for nouns that take more than an s."""
    return f'{number} {noun if number == 1 else plural or noun + "s"}'


def _is_finite(value: float | str | None) -> TypeGuard[float]:
    return value is not None and not isinstance(value, str) and math.isfinite(value)


def _fixed(value: Any, places: int, sign: str, unknown: str = UNKNOWN) -> str:
    if isinstance(value, str):
        return value
    return f'{round(value, places) + 0.0:{sign}.{places}f}' if _is_finite(value) else unknown


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table.

    Attributes:
        name: key in CSV and JSON; '' for a column that only people see.
        head: header for people, of at most two lines; None for one that only programs see.
        show: a column's values to text, one each; they come together, so that decimals agree.
        value: what a row says; default its attribute, or key, of the column's name.
    """

    name: str
    head: str | None = None
    show: Callable[[Sequence[Any]], list[str]] = as_text
    value: Callable[[Row], Any] | None = None

    @property
    def heading(self) -> str:
        """The header on one line."""
        return (self.head or '').replace('\n/', '/').replace('\n', ' ').strip()

    def of_row(self, row: Row) -> Any:
        """What a row says."""
        if self.value is not None:
            return self.value(row)
        return row[self.name] if isinstance(row, Mapping) else getattr(row, self.name)

    def cells(self, rows: Sequence[Row]) -> list[str]:
        """Text of every row's value."""
        return self.show([self.of_row(row) for row in rows])

    def of(self, held: Callable[[Holder], Row]) -> Column[Holder]:
        """The same column of what holds a row each.

        Args:
            held: the row that a holder holds.
        """
        return Column(self.name, self.head, self.show, lambda holder: self.of_row(held(holder)))


def columns_of(names: Sequence[str]) -> tuple[Column[Any], ...]:
    """Columns for programs: attributes or keys of the rows as they are."""
    return tuple(Column(name) for name in names)


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Columns and rows; of the columns that people see, the first holds the names of the rows.

    Attributes:
        columns: see :class:`Column`.
        rows: anything that the columns can read.
        title: above it.
        note: below it.
    """

    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    title: str = ''
    note: str = ''

    @functools.cached_property
    def seen(self) -> tuple[Column[Row], ...]:
        """Columns for people."""
        return tuple(column for column in self.columns if column.head is not None)

    @property
    def headings(self) -> list[str]:
        """Their headers, a line each."""
        return [column.heading for column in self.seen]

    @functools.cached_property
    def cells(self) -> list[list[str]]:
        """Their texts, column by column."""
        return [column.cells(self.rows) for column in self.seen]

    def lines(self) -> list[tuple[str, ...]]:
        """Their texts, row by row."""
        return list(zip(*self.cells, strict=True))

    def records(self) -> list[dict[str, Any]]:
        """Every row by the names of columns, as strict JSON knows it."""
        named = [column for column in self.columns if column.name]
        return [{c.name: plain(c.of_row(row)) for c in named} for row in self.rows]

    def csv(self) -> str:
        """A line of names, then one per row; nothing where undefined, lists as words."""
        names = [column.name for column in self.columns if column.name]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator='\n')
        writer.writerow(names)
        for record in self.records():
            writer.writerow(
                ' '.join(map(str, value)) if isinstance(value, list) else value
                for value in record.values()
            )
        return buffer.getvalue()

    def markdown(self) -> list[str]:
        """Lines of a table: names to the left, numbers to the right."""
        texts = (
            [cell.replace('\\', '\\\\').replace('|', '\\|') for cell in line]
            for line in self.lines()
        )
        lines = [self.headings, ['---', *('---:' for _ in self.seen[1:])], *texts]
        return [f'| {" | ".join(cells)} |' for cells in lines]

    def latex(self, label: str, *, notes: Sequence[str] = (), comments: Sequence[str] = ()) -> str:
        r"""A table environment, to be \input where booktabs and graphicx are loaded.

        Args:
            label: for \ref.
            notes: below it.
            comments: not printed.
        """
        rows = [' & '.join(map(_latex_cell, line)) + r' \\' for line in self.lines()]
        lines = [
            *(f'% {" ".join(comment.split())}' for comment in comments),
            r'% \usepackage{booktabs,graphicx}',
            r'\begin{table}',
            r'\centering',
            rf'\caption{{{latex_text(self.title)}}}',
            rf'\label{{{label}}}',
            # Wide ones shrink; narrow ones must not grow.
            r'\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%',
            rf'\begin{{tabular}}{{l{"r" * (len(self.seen) - 1)}}}',
            r'\toprule',
            ' & '.join(map(_latex_cell, self.headings)) + r' \\',
            r'\midrule',
            *rows,
            r'\bottomrule',
            r'\end{tabular}}',
            *(rf'\par\footnotesize\raggedright {latex_text(note)}' for note in notes),
            r'\end{table}',
        ]
        return '\n'.join(lines) + '\n'

    def html(self) -> str:
        """A table that the page's script can sort by any column, in a box that scrolls."""
        environment = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True)
        return environment.from_string(_IN_HTML).render(table=self)

    def screen(self) -> rich.table.Table:
        """For the terminal: names to the left, figures to the right; see :func:`print_table`."""
        # Cells are Text, because a name such as 'sta-[48, 96]' would else be read as markup.
        table = rich.table.Table(
            title=Text(self.title, style='bold') if self.title else None,
            caption=Text(self.note, style='dim'),
            title_justify='left',
            caption_justify='left',
            box=RULED,
            show_edge=False,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for place, (column, cells) in enumerate(zip(self.seen, self.cells, strict=True)):
            head, least = column.head or '', _longest_word(column.head or '', cells)
            if place == 0:
                table.add_column(
                    Text(f'\n{head}'), overflow='fold', min_width=min(least, LEAST_NAME)
                )
                continue
            single = all(' ' not in cell for cell in cells)  # lists of numbers may wrap
            table.add_column(
                Text(head), justify='right', overflow='fold', no_wrap=single, min_width=least
            )
        for line in self.lines():
            table.add_row(*map(Text, line))
        return table


def plain(value: Any) -> Any:
    """Nested settings as JSON knows them; NaN and infinity, which it does not, become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def json_text(found: Any) -> str:
    """Strict JSON."""
    return json.dumps(plain(found), indent=2, allow_nan=False) + '\n'


def latex_text(text: str) -> str:
    """Any text as LaTeX prints it."""
    parts = (''.join(_IN_LATEX.get(c, c) for c in part) for part in text.split('--'))
    # Else two hyphens become a dash, and an option of a command cannot be copied.
    return '-{}-'.join(parts)


def _latex_cell(text: str) -> str:
    """One cell.

    What starts with [ would be taken for an option of the line break before it, and a minus sign
    outside of formulas is printed as a hyphen.
    """
    if re.fullmatch(r'[+-]\d+(\.\d+)?', text):
        return f'${text}$'
    return f'{{{latex_text(text)}}}' if text.startswith(('[', '*')) else latex_text(text)


def print_table(table: Table[Any], console: Console | None = None) -> None:
    """Print a table without losing a digit.

    Args:
        table: what to print.
        console: where to; default standard output, 100 columns wide when that is no terminal. A
            terminal of less than 80 columns, or than the longest words need, breaks lines itself.
    """
    if console is None:
        console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    screen = table.screen()
    least = sum((column.min_width or 0) + 1 for column in screen.columns)
    options = console.options.update(width=max(console.width, NARROWEST, least))
    # In the table a path longer than its lines would be broken anywhere; here only between words.
    screen.title = None
    if table.title:
        words = _encodable(table.title, console.encoding)
        lines = textwrap.wrap(
            words, options.max_width, break_long_words=False, break_on_hyphens=False
        )
        console.print(Text('\n'.join(lines), style='bold'), crop=False, soft_wrap=True)
    segments = [
        Segment(_encodable(segment.text, console.encoding), segment.style)
        for segment in console.render(screen, options)
    ]
    console.print(Segments(segments), crop=False, soft_wrap=True, end='')


def _longest_word(head: str, cells: Sequence[str]) -> int:
    """Characters of a column's longest word: rich would cut it, or leave the column out."""
    return max((len(word) for text in (head, *cells) for word in text.split()), default=0)


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, 'backslashreplace').decode(encoding)


# An evaluation's table.


def has_too_few(row: SummaryRow) -> bool:
    """Whether a row is of too few videos for an interval; never where nobody says of how many."""
    return 0 < row.num_videos < FEWEST_VIDEOS


def _if_enough(value: Callable[[SummaryRow], Any]) -> Callable[[SummaryRow], Any]:
    """What says how sure a change is, where there is a change and there are enough videos."""
    return lambda row: TOO_FEW if row.top1_change is not None and has_too_few(row) else value(row)


# In the order of results.csv. Tokens and GFLOPs per video, which follow from the rest, are left to
# programs, so that people have 80 columns.
ACCURACY: tuple[Column[SummaryRow], ...] = (
    Column('name', 'variant'),
    *columns_of(['pruner', 'tokens_kept', 'tokens_after_stages']),
    Column('gflops_per_view', 'GFLOPs\n/view', scaled),
    Column('gflops_per_video'),
    Column('reduction_percent', 'saved\n%', decimals(1)),
    Column('top1_percent', 'top-1\n%', decimals(2)),
    Column('top5_percent', 'top-5\n%', decimals(2)),
    Column('top1_change', 'top-1\nchange', decimals(2, '+')),
    Column(
        '',
        '95 %\ninterval',
        intervals,
        _if_enough(lambda row: (row.top1_change_low, row.top1_change_high)),
    ),
    Column('', '\np', probabilities, _if_enough(lambda row: row.p_value)),
    Column('clips_per_s', 'clips\n/s', scaled),
    *columns_of(['label', 'top1_change_low', 'top1_change_high', 'p_value', 'averages']),
    *columns_of(['top1_spread', 'cost_is_average', 'num_videos', 'not_finite']),
)


def not_finite_note(rows: Sequence[SummaryRow]) -> str:
    """Whose scores are NaN or infinite, of how many videos; '' where none are, else ends in ' '."""
    failed = [
        f'{row.name} {row.not_finite} of {counted(row.num_videos, "video")}'
        for row in rows
        if row.not_finite
    ]
    return f'SCORES NOT FINITE, counted as wrong: {", ".join(failed)}. ' if failed else ''


def unpaired_on_k400() -> str:
    """Why changes are paired: what the accuracies that papers print are worth without it."""
    error = float(standard_error(K400_TOP1, K400_VIDEOS))
    return (
        f'Unpaired, one top-1 on Kinetics-400 ({K400_VIDEOS:,} videos, about {K400_TOP1} %) has a '
        f'standard error of {error:.2f} points: without pairing, a drop of 0.2 means nothing.'
    )
