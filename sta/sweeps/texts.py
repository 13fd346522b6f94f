"""A sweep as text: the states of its elements, and the tables of all its evaluations."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from sta.evaluation import shown_rows
from sta.paper.latex import latex_table
from sta.report.columns import COLUMNS, GFLOP_NOTE, counted, not_finite_note
from sta.report.console import accuracy_table, table_of_texts
from sta.report.page.evaluation import Evaluation
from sta.report.texts import csv_text, markdown_table

from .state import DONE, FAILED, PENDING, RUNNING, ElementState

MOST_LINES = 40
HEADS = ('state', 'videos', '%', 'time\nleft', 'ran', 'attempts', 'remark')
Found = Mapping[str, Evaluation]


def states_table(states: Sequence[ElementState], title: str) -> Table:
    """A line per element; of many, those that run or failed."""
    shown = list(states)
    if len(shown) > MOST_LINES:
        shown = [s for s in states if s.state in (RUNNING, FAILED)][:MOST_LINES]
    names = [state.element.name for state in shown]
    columns = state_cells(shown)
    return table_of_texts('element', names, HEADS, columns, title, summary_line(states))


def state_cells(states: Sequence[ElementState]) -> list[list[str]]:
    """Columns under HEADS."""
    rows = [
        (
            state.state,
            f'{state.stored}/{state.videos}',
            f'{100 * state.stored / max(state.videos, 1):.0f}',
            '' if state.seconds_left is None else duration(state.seconds_left),
            duration(state.ran_s) if state.attempts else '',
            str(state.attempts or ''),
            state.reason,
        )
        for state in states
    ]
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in HEADS]


def summary_line(states: Sequence[ElementState]) -> str:
    """How many elements are in which state, and how far the whole is."""
    counts = Counter(state.state for state in states)
    parts = [f'{counts[s]} {s}' for s in (DONE, RUNNING, FAILED, PENDING) if counts[s]]
    stored, videos = (sum(getattr(s, n) for s in states) for n in ('stored', 'videos'))
    hours = sum(state.ran_s for state in states) / 3600
    return (
        f'{counted(len(states), "element")}: {", ".join(parts)}; '
        f'{stored} of {counted(videos, "video")} = {100 * stored / max(videos, 1):.0f} %; '
        f'{hours:.2f} element-hours so far.'
    )


def failure_lines(states: Sequence[ElementState], most: int = 10) -> list[str]:
    """Of failed elements the end of the log, and the command that runs them again."""
    failed = [state for state in states if state.state == FAILED]
    lines = []
    for state in failed[:most]:
        lines.append(
            f'{state.element.name} failed ({state.reason}), {state.element.folder}/log.txt:'
        )
        lines += [f'    {line[:300]}' for line in state.log_end()]
        lines.append(f'  by hand: {state.element.typed()}')
    if len(failed) > most:
        lines.append(f'... and {len(failed) - most} more failed')
    return lines


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 05'."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02d}'


def short_note(found: Evaluation) -> str:
    """On how many videos a table is based."""
    facts = found.facts
    part = f' ({facts["part"]})' if facts.get('part') else ''
    videos = counted(facts['num_videos'], 'video')
    failed = not_finite_note(found.rows)
    views = counted(facts['views_per_video'], 'view')
    return f'{videos} x {views}{part}, {facts["precision"]}. {failed}'.rstrip()


def screen_tables(found: Found) -> list[Table]:
    """The table of every evaluation."""
    return [
        accuracy_table(shown_rows(one.rows), title=name, footer=short_note(one))
        for name, one in found.items()
    ]


def sweep_csv(found: Found) -> str:
    """The rows of all evaluations, as of results.csv of each, behind three columns more."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    for number, (name, one) in enumerate(found.items()):
        head, *lines = csv.reader(io.StringIO(csv_text(one.rows)))
        if number == 0:
            writer.writerow(['evaluation', 'config', 'checkpoint', *head])
        own = [name, one.facts['config'], one.facts['checkpoint']]
        writer.writerows([*own, *line] for line in lines)
    return buffer.getvalue()


def sweep_markdown(
    name: str, found: Found, states: Sequence[ElementState], facts: Mapping[str, Any]
) -> str:
    """All tables, the states of the elements, and how it was made."""
    lines = [f'# {name}', '', summary_line(states), '']
    for own, one in found.items():
        lines += [f'## {own}', '', *markdown_table(_headings(), _columns(one)), '', one.note, '']
    heads = ['element', *(head.replace('\n', ' ') for head in HEADS)]
    cells = [[state.element.name for state in states], *state_cells(states)]
    lines += ['## Elements', '', *markdown_table(heads, cells), '']
    errors = [f'- {s.element.name} failed: {s.error}' for s in states if s.error]
    lines += [*errors, ''] if errors else []
    lines += [f'Commit {facts.get("commit") or "unknown"}, {facts.get("time_utc")}.', '', '```']
    lines += [str(facts.get('command')), '```']
    return '\n'.join(lines) + '\n'


def sweep_latex(name: str, found: Found, facts: Mapping[str, Any]) -> str:
    """A table per evaluation."""
    comments = [str(facts.get('command')), f'commit {facts.get("commit")}']
    return '\n'.join(
        latex_table(
            _headings(),
            _columns(one),
            caption=f'{name}: {own}',
            label=f'tab:{name}:{own}',
            notes=[f'{short_note(one)} {GFLOP_NOTE}'],
            comments=comments,
        )
        for own, one in found.items()
    )


def states_json(states: Sequence[ElementState]) -> list[dict[str, Any]]:
    """What is known of every element, and the command that runs it again."""
    names = ('state', 'stored', 'videos', 'seconds_left', 'ran_s', 'reason', 'error', 'host')
    names += ('attempts',)
    return [
        {
            'element': state.element.name,
            **{name: getattr(state, name) for name in names},
            'folder': str(state.element.folder),
            'command': state.element.typed(),
        }
        for state in states
    ]


def sweep_json(content: Mapping[str, Any]) -> str:
    """Strict JSON."""
    return json.dumps(content, indent=2, allow_nan=False) + '\n'


def _headings() -> list[str]:
    return ['variant', *(column.heading for column in COLUMNS)]


def _columns(found: Evaluation) -> list[list[str]]:
    rows = shown_rows(found.rows)
    return [[row.name for row in rows], *(column.cells(rows) for column in COLUMNS)]
