"""A sweep as text: the states of its elements, and the tables of all its evaluations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sta.evaluation import SummaryRow
from sta.report import Evaluation
from sta.report.table import (
    ACCURACY,
    GFLOP_NOTE,
    Column,
    Table,
    counted,
    not_finite_note,
)

from .state import DONE, FAILED, PENDING, RUNNING, ElementState

MOST_LINES = 40
Found = Mapping[str, Evaluation]


def _ran(state: ElementState) -> str:
    return duration(state.ran_s) if state.attempts else ''


STATES: tuple[Column[ElementState], ...] = (
    Column('', 'element', value=lambda state: state.element.name),
    Column('state', 'state'),
    Column('', 'videos', value=lambda state: f'{state.stored}/{state.videos}'),
    Column('', '%', value=lambda state: f'{100 * state.stored / max(state.videos, 1):.0f}'),
    Column(
        '',
        'time\nleft',
        value=lambda state: '' if state.seconds_left is None else duration(state.seconds_left),
    ),
    Column('', 'ran', value=_ran),
    Column('', 'attempts', value=lambda state: str(state.attempts or '')),
    Column('', 'remark', value=lambda state: state.reason),
)


def states_table(states: Sequence[ElementState], title: str) -> Table[ElementState]:
    """A line per element; of many, those that run or failed."""
    shown = list(states)
    if len(shown) > MOST_LINES:
        shown = [s for s in states if s.state in (RUNNING, FAILED)][:MOST_LINES]
    return Table(STATES, shown, title, summary_line(states))


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


def screen_tables(found: Found) -> list[Table[SummaryRow]]:
    """The table of every evaluation."""
    return [Table(ACCURACY, one.shown, name, short_note(one)) for name, one in found.items()]


def sweep_csv(found: Found) -> str:
    """The rows of all evaluations, as of results.csv of each, behind three columns more."""
    rows = [(name, one, row) for name, one in found.items() for row in one.rows]
    columns: list[Column[tuple[str, Evaluation, SummaryRow]]] = [
        Column('evaluation', value=itemgetter(0)),
        Column('config', value=lambda held: held[1].facts['config']),
        Column('checkpoint', value=lambda held: held[1].facts['checkpoint']),
        *(column.of(itemgetter(2)) for column in ACCURACY),
    ]
    return Table(columns, rows).csv()


def sweep_markdown(
    name: str, found: Found, states: Sequence[ElementState], facts: Mapping[str, Any]
) -> str:
    """All tables, the states of the elements, and how it was made."""
    lines = [f'# {name}', '', summary_line(states), '']
    for own, one in found.items():
        lines += [f'## {own}', '', *one.table.markdown(), '', one.note, '']
    lines += ['## Elements', '', *Table(STATES, states).markdown(), '']
    errors = [f'- {s.element.name} failed: {s.error}' for s in states if s.error]
    lines += [*errors, ''] if errors else []
    lines += [f'Commit {facts.get("commit") or "unknown"}, {facts.get("time_utc")}.', '', '```']
    lines += [str(facts.get('command')), '```']
    return '\n'.join(lines) + '\n'


def sweep_latex(name: str, found: Found, facts: Mapping[str, Any]) -> str:
    """A table per evaluation."""
    comments = [str(facts.get('command')), f'commit {facts.get("commit")}']
    return '\n'.join(
        Table(ACCURACY, one.shown, f'{name}: {own}').latex(
            f'tab:{name}:{own}',
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
