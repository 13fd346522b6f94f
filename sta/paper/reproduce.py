"""From tables that were asked for to tables that are filled, shown and written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from operator import attrgetter
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sta import report
from sta.atomic import write_text
from sta.engine.variant_loop import describe_hardware
from sta.evaluation import SummaryRow
from sta.report.folder import versions, versions_text
from sta.report.plots import COLOURS, DPI, FONT, MARKERS, SIZE_INCHES, legend_below, save_figure
from sta.report.table import (
    TOO_FEW,
    columns_of,
    fixed,
    has_too_few,
    json_text,
    probabilities,
    unpaired_on_k400,
)

from .experiment import ACCURACIES, TRAJECTORY, Experiment, config_schedule
from .inputs import Inputs, legend
from .measure import Request, measure, plan_runs
from .tables import SMOKE, Column, Record, Table

# Of the statistics that an evaluation may add to its rows.
STATISTICS = ('top1_change_low', 'top1_change_high', 'p_value')
STATISTICS_NOTE = (
    'Change in top-1 against no pruning in points [95 % interval, paired bootstrap], exact McNemar '
    'test, over the same videos:'
)
# Headings of the columns of fig5.
FIG5_SPEED = 'clips/s'
FIG5_METHODS = {'STA': 'STA top-1 %', 'random': 'random top-1 %'}


def reproduce(request: Request, inputs: Inputs) -> tuple[list[Table], list[Path]]:
    """Measure what can be measured, fill the tables and write them.

    Returns:
        The tables, and the files; no files in other processes than the first.

    Raises:
        CheckpointError, ConfigError, DataError, ScheduleError, StoreError: as tools/test.py.
        OSError: the folder cannot be written.
    """
    filled = measure(request, inputs)
    if int(os.environ.get('RANK', 0)) != 0:
        return filled, []
    return filled, write_tables(filled, request.folder, request.command)


def legend_of(tables: Sequence[Table], inputs: Inputs) -> list[str]:
    """Where the files are expected that the tables lack; nothing where they lack none."""
    settings = plan_runs(tables, (*ACCURACIES, TRAJECTORY))
    lacking = [setting for setting in settings if inputs.missing(setting)]
    return legend(inputs, lacking) if lacking else []


def environment(command: str) -> dict[str, Any]:
    """What a number's reader must know of how it was made."""
    return {
        'command': command,
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'hardware': describe_hardware(),
        'versions': versions(),
    }


def write_tables(tables: Sequence[Table], folder: Path, command: str) -> list[Path]:
    """Write every table as .md, .tex, .csv and .json, and Figure 5 as a picture as well.

    Returns:
        The files.

    Raises:
        OSError: the folder cannot be written.
    """
    facts, paths = environment(command), []
    for table in tables:
        for suffix, text in texts_of(table, facts).items():
            paths.append(folder / f'{table.name}.{suffix}')
            write_text(paths[-1], text)
        if table.name == 'fig5':
            paths += save_figure(plot_fig5(table), folder, 'fig5')
    return paths


def texts_of(table: Table, facts: Mapping[str, Any]) -> dict[str, str]:
    """A filled table as Markdown, LaTeX, CSV and JSON, by suffix."""
    notes, made = notes_of(table), _fact_lines(facts)
    shown = for_people(table)
    lines = [f'### {shown.title}', '', *shown.markdown(), '', *(f'- {note}' for note in notes)]
    found = {
        'table': table.name,
        'title': table.title,
        'smoke': table.is_smoke,
        'environment': dict(facts),
        'notes': notes,
        'cells': for_programs(table).records(),
    }
    return {
        'md': '\n'.join([*lines, '', *(f'- {line}' for line in made)]) + '\n',
        'tex': shown.latex(f'tab:{table.name}', notes=notes, comments=made),
        'csv': for_programs(table, written=json.dumps).csv(),
        'json': json_text(found),
    }


def for_people(
    table: Table, head: Callable[[str], str] = lambda heading: heading
) -> report.Table[str]:
    """Published, ours and difference, as far as there are any; a line per row.

    Args:
        table: filled.
        head: makes a header of a heading.
    """
    needs = needs_of(table)
    places = {(record.row, record.column): record for record in table.records}
    columns: list[report.Column[str]] = [report.Column('', table.first, value=str)]

    def add(heading: str, column: Column, text: Callable[[Record], str]) -> None:
        def value(row: str) -> str:
            record = places.get((row, column))
            return '' if record is None else text(record)

        columns.append(report.Column('', head(heading), value=value))

    for column in table.columns:
        records = [record for record in table.records if record.column == column]
        published = any(record.published is not None for record in records)
        measured = any(record.quantity for record in records)
        if published:
            add(f'{column.heading}, paper', column, _published_text)
        if measured:
            own = f'{column.heading}, {SMOKE if table.is_smoke else "ours"}'
            add(own, column, lambda record: _own_text(record, needs))
        differs = any(record.difference is not None for record in records)
        if differs and column.comparable:
            add('diff', column, difference_text)
    return report.Table(columns, table.rows, title_of(table))


def on_screen(table: Table) -> report.Table[str]:
    """For a terminal; the title may be longer than the table is wide, which would break it."""
    shown = for_people(table, head=_broken)
    return report.Table(shown.columns, shown.rows)


def for_programs(
    table: Table, written: Callable[[Any], Any] = lambda settings: settings
) -> report.Table[Record]:
    """A line per number that is published or wanted.

    Args:
        table: filled.
        written: how settings of variants are written.
    """
    columns: list[report.Column[Record]] = [
        report.Column('table', value=lambda _: table.name),
        report.Column('row'),
        report.Column('column', value=lambda record: record.column.heading),
        *columns_of(['quantity', 'published', 'ours']),
        report.Column('difference', value=lambda r: r.difference if r.column.comparable else None),
        report.Column('needs'),
        *(
            column.of(attrgetter('experiment'))
            for column in (
                _if_any('setting', lambda experiment: experiment.setting.name),
                _if_any('config', lambda experiment: f'configs/{experiment.setting.config}.py'),
                _if_any('pruner', lambda experiment: written(dict(experiment.pruner))),
                _if_any('schedule', lambda experiment: written(config_schedule(experiment))),
            )
        ),
        *(_if_any(name, attrgetter(name)).of(attrgetter('summary')) for name in STATISTICS),
    ]
    return report.Table(columns, table.records)


def _if_any(name: str, get: Callable[[Any], Any]) -> report.Column[Any]:
    """A column of what may be None."""
    return report.Column(name, value=lambda found: None if found is None else get(found))


def title_of(table: Table) -> str:
    """Name and title."""
    return f'{table.name}: {table.title}'


def needs_of(table: Table) -> dict[str, int]:
    """What is missing, numbered from 1 in the order of the records."""
    missing = dict.fromkeys(record.needs for record in table.records if record.needs)
    return {text: number for number, text in enumerate(missing, start=1)}


def notes_of(table: Table) -> list[str]:
    """The lines below the table."""
    lines = [*table.notes, *(f'[{n}] needs {text}' for text, n in needs_of(table).items())]
    lines += [line for line in (largest_deviation(table),) if line]
    return [*lines, *unpaired(table), *statistics(table), *table.footers]


def largest_deviation(table: Table) -> str:
    """How far counted GFLOPs are from the published ones; '' where none are published."""
    found = [
        (record.ours - record.published, record.row, record.ours, record.published)
        for record in table.records
        if record.quantity == 'gflops'
        if isinstance(record.ours, float) and record.published is not None
    ]
    if not found:
        return ''
    rounded = sum(round(ours) == published for *_, ours, published in found)
    cut = sum(int(ours) == published != round(ours) for *_, ours, published in found)
    also = f', {cut} more are it once their decimals are cut' if cut else ''
    difference, row, ours, published = max(found, key=lambda one: abs(one[0]))
    return (
        f'GFLOPs: {rounded} of {len(found)} round to the published number{also}; largest '
        f'deviation {difference:+.2f} ({row}: {published} published, {ours:.2f} counted).'
    )


def statistics(table: Table) -> list[str]:
    """Intervals and p-values of the changes in top-1, where the evaluation gives them."""
    lines: dict[Experiment | None, str] = {}
    for record in table.records:
        found = record.summary
        if found is None or not found.pruner or not (sure := _how_sure(found)):
            continue
        place = f'{record.row}, {record.column.heading.removesuffix(" %")}'
        lines.setdefault(record.experiment, f'{place}: {found.top1_change:+.2f} {sure}')
    return [STATISTICS_NOTE, *lines.values()] if lines else []


def unpaired(table: Table) -> list[str]:
    """How little one accuracy on K400 says, where the table has any."""
    on_k400 = (
        record.experiment.setting.dataset == 'k400'
        for record in table.records
        if record.experiment and record.quantity == 'top1' and record.published is not None
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


def _published_text(record: Record) -> str:
    """The number as the paper prints it."""
    return '' if record.published is None else f'{record.published}'


def _own_text(record: Record, needs: Mapping[str, int]) -> str:
    """Our number, or the mark of what it needs."""
    if record.needs:
        return f'[{needs[record.needs]}]'
    if record.ours is None:
        return ''
    return (
        record.ours if isinstance(record.ours, str) else f'{record.ours:.{record.column.decimals}f}'
    )


def difference_text(record: Record) -> str:
    """Ours minus the paper's, with its sign."""
    if record.difference is None:
        return ''
    return fixed([record.difference], record.column.decimals, '+')[0]


def _fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """How a table was made, a line each."""
    how = f'{facts["time_utc"]}, {facts["hardware"]}; {versions_text(facts)}'
    return [f'command: {facts["command"]}', how]


def _broken(heading: str) -> str:
    """A heading on two lines or more: what it is, whose it is."""
    what, comma, whose = heading.rpartition(', ')
    lines = what.replace(' ', '\n').replace('/view', '\n/view')
    return f'{lines}\n{whose}' if comma else f'\n{heading}'


def plot_fig5(table: Table) -> Figure:
    """Top-1 over clips/s: a line per method, published dashed and ours solid, as far as known.

    Published points are hollow, and each method has a marker of its own.

    Random pruning is drawn at STA's clips/s, since the paper's plot gives no speeds of its own.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    own = SMOKE if table.is_smoke else 'ours'
    for colour, marker, (method, heading) in zip(COLOURS, MARKERS, FIG5_METHODS.items()):
        published, ours = points(table, heading)
        _draw(axes, published, f'{method}, paper (V100)', colour, '--', marker)
        _draw(axes, ours, f'{method}, {own}', colour, '-', marker)
    axes.set_xlabel('clips/s', fontsize=FONT + 1)
    axes.set_ylabel('top-1 accuracy (%)', fontsize=FONT + 1)
    axes.set_title(table.title, fontsize=FONT + 1)
    axes.grid(color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    if axes.lines:
        legend_below(figure, axes, note='')
    else:
        axes.text(0.5, 0.5, 'nothing measured yet', transform=axes.transAxes, ha='center')
    return figure


def points(
    table: Table, heading: str
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(clips/s, top-1 %) of the method of a column, published and ours, where both are known."""
    places = {(record.row, record.column.heading): record for record in table.records}
    pairs = [(places.get((row, FIG5_SPEED)), places.get((row, heading))) for row in table.rows]
    known = [(speed, top1) for speed, top1 in pairs if speed is not None and top1 is not None]
    found = (
        [(getattr(speed, which), getattr(top1, which)) for speed, top1 in known]
        for which in ('published', 'ours')
    )
    published, ours = ([pair for pair in own if None not in pair] for own in found)
    return published, ours


def _draw(
    axes: Axes,
    found: Sequence[tuple[float, float]],
    label: str,
    colour: str,
    line: str,
    marker: str,
) -> None:
    if found:
        speeds, top1 = zip(*sorted(found))
        inside = 'white' if line == '--' else colour
        axes.plot(
            speeds,
            top1,
            label=label,
            color=colour,
            linestyle=line,
            marker=marker,
            markerfacecolor=inside,
        )
