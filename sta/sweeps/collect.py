"""Look at a sweep, whether it still runs or not: states, merged tables, one picture, one page."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sta.atomic import write_text
from sta.errors import DataError, StoreError
from sta.evaluation import (
    SummaryRow,
    assemble,
    differing_parts,
    read_condition_texts,
    read_conditions,
    read_fingerprint,
    read_stores,
    snapshots,
)
from sta.report import (
    Evaluation,
    evaluation_of,
    load,
    plot_accuracy_vs_gflops,
    save_figure,
    write_evaluation,
)
from sta.report.folder import accuracy_plot
from sta.report.page import PAGE, Picture, inline_svg, render, write_page
from sta.report.table import (
    ACCURACY,
    GFLOP_NOTE,
    Column,
    Table,
    columns_of,
    counted,
    json_text,
    not_finite_note,
)

from .job import log_end
from .state import (
    DONE,
    FAILED,
    NOT_SUBMITTED,
    PENDING,
    RUNNING,
    ElementState,
    Manifest,
    Planned,
    read_manifest,
    states_of,
)

RESULTS = 'results'
MERGED = '.merged.json'
MOST_LINES, MOST_FAILURES = 40, 10
Found = Mapping[str, Evaluation]  # what is known of evaluations, by name


@dataclass(frozen=True)
class Collected:
    """What was found of a sweep.

    Attributes:
        manifest: what it is a sweep of.
        states: of all elements.
        found: merged results by evaluation; those that have any.
        problems: why scores of an evaluation could not be merged, a line each.
        written: files.
    """

    manifest: Manifest
    states: tuple[ElementState, ...]
    found: Found
    problems: tuple[str, ...]
    written: tuple[Path, ...]

    @property
    def is_going_on(self) -> bool:
        """Whether anything runs or waits for a job that was submitted."""
        return any(
            state.state == RUNNING or (state.state == PENDING and state.reason != NOT_SUBMITTED)
            for state in self.states
        )

    @property
    def has_failed(self) -> bool:
        """Whether any element failed, or any scores could not be merged."""
        return bool(self.problems) or any(state.state == FAILED for state in self.states)


def collect(folder: Path) -> Collected:
    """Look at a sweep, merge what is there, and write all files.

    Raises:
        DataError: not a folder of tools/sweep.py, or a damaged one.
    """
    manifest = read_manifest(folder)
    states = states_of(manifest, folder)
    found: dict[str, Evaluation] = {}
    problems = []
    for planned in manifest.planned:
        name = planned.evaluation.name
        own = [state for state in states if state.element.evaluation.name == name]
        try:
            if _merge(planned, own, folder / RESULTS / name):
                found[name] = load(folder / RESULTS / name)
        except (DataError, StoreError) as error:
            problems.append(f'{name}: {error}')
    written = _write(manifest, found, states, folder)
    return Collected(manifest, states, found, tuple(problems), tuple(written))


def _merge(planned: Planned, states: Sequence[ElementState], folder: Path) -> bool:
    """Put the shards of an evaluation together, exactly as the processes of one run are.

    Leaves table, plots and page where nothing has changed.

    Returns:
        Whether there are results.
    """
    paths = [path for state in states for path in state.element.folder.glob('scores/*.sqlite')]
    if not any(state.stored for state in states):
        return False
    signature = _signature(paths, states)
    if _merged_before(folder) == signature and (folder / 'results.json').exists():
        return True
    with snapshots(paths) as copies:
        fingerprint = _common_fingerprint(copies)
        conditions = read_conditions(read_condition_texts(copies))
        stored = read_stores(copies, len(conditions.variants))
    result = assemble(
        stored,
        conditions,
        wall_s=sum(state.ran_s for state in states),
        wait_share=float('nan'),
        part=_part(planned, states, len(stored.videos)),
    )
    found = evaluation_of(
        result,
        command='\n'.join(state.element.typed() for state in states),
        config=planned.evaluation.config,
        checkpoint=planned.evaluation.checkpoint,
        annotations=planned.annotations,
        fingerprint=fingerprint,
    )
    write_evaluation(found, folder)
    write_page(found, folder)
    write_text(folder / MERGED, json.dumps({'signature': signature}) + '\n')
    return True


def _common_fingerprint(copies: Sequence[Path]) -> dict[str, str]:
    """What all scores depend on but for the shard."""
    found = [read_fingerprint(path) for path in copies]
    for one in found:
        one.pop('shard', None)
    for one in found[1:]:
        if differing := differing_parts(found[0], one):
            raise StoreError(f'its shards have other {", ".join(differing)} than each other')
    if not found:
        raise DataError('no scores yet')
    return found[0]


def _part(planned: Planned, states: Sequence[ElementState], stored: int) -> str:
    done = sum(state.state == DONE for state in states)
    if stored < planned.num_videos:
        return f'so far, of {planned.num_videos}; {done} of {len(states)} shards are done'
    return f'merged from {len(states)} shards' if len(states) > 1 else ''


def _signature(paths: Sequence[Path], states: Sequence[ElementState]) -> str:
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    states_text = [state.state for state in states]
    return hashlib.sha256(json.dumps([sorted(facts), states_text]).encode()).hexdigest()


def _merged_before(folder: Path) -> Any:
    try:
        return json.loads((folder / MERGED).read_text(encoding='utf-8'))['signature']
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(
    manifest: Manifest, found: Found, states: Sequence[ElementState], folder: Path
) -> list[Path]:
    """Write what is known of a whole sweep."""
    content = {
        'sweep': manifest.name,
        'facts': dict(manifest.facts),
        'summary': summary_line(states),
        'elements': Table(STATES, states).records(),
        'evaluations': [_record(name, folder / RESULTS / name) for name in found],
    }
    texts = {'results.json': json_text(content)}
    if found:
        rows = [(name, one, row) for name, one in found.items() for row in one.rows]
        texts['results.csv'] = Table(_ALL, rows).csv()
        texts['results.tex'] = _latex(manifest, found)
        texts['results.md'] = _markdown(manifest, found, states)
    for name, text in texts.items():
        write_text(folder / name, text)
    paths = [folder / name for name in texts]
    if found:
        figure = _figure(found, manifest.name)
        paths += save_figure(figure, folder, 'accuracy_vs_gflops')
        write_text(folder / PAGE, _page(manifest, found, states, figure))
        paths.append(folder / PAGE)
    return paths


def _record(name: str, folder: Path) -> dict[str, Any]:
    results = json.loads((folder / 'results.json').read_text(encoding='utf-8'))
    return {'name': name, **results}


# The states of elements.


def duration(seconds: float) -> str:
    """'45 s', '12 min', '3 h 05'."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02d}'


def _time_left(state: ElementState) -> str:
    return '' if state.seconds_left is None else duration(state.seconds_left)


# Named ones are what results.json says of an element, those with a head what people see.
STATES: tuple[Column[ElementState], ...] = (
    Column('element', 'element', value=lambda state: state.element.name),
    Column('state', 'state'),
    *columns_of(['stored', 'videos', 'seconds_left', 'ran_s', 'reason', 'error', 'host']),
    Column('', 'videos', value=lambda state: f'{state.stored}/{state.videos}'),
    Column('', '%', value=lambda state: f'{100 * state.stored / max(state.videos, 1):.0f}'),
    Column('', 'time\nleft', value=_time_left),
    Column('', 'ran', value=lambda state: duration(state.ran_s) if state.attempts else ''),
    Column('attempts', 'attempts', lambda numbers: [str(number or '') for number in numbers]),
    Column('', 'remark', value=lambda state: state.reason),
    Column('folder', value=lambda state: str(state.element.folder)),
    Column('command', value=lambda state: state.element.typed()),
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
    stored, videos = sum(s.stored for s in states), sum(s.videos for s in states)
    hours = sum(state.ran_s for state in states) / 3600
    return (
        f'{counted(len(states), "element")}: {", ".join(parts)}; '
        f'{stored} of {counted(videos, "video")} = {100 * stored / max(videos, 1):.0f} %; '
        f'{hours:.2f} element-hours so far.'
    )


def failure_lines(states: Sequence[ElementState]) -> list[str]:
    """Of failed elements the end of the log, and the command that runs them again."""
    failed = [state for state in states if state.state == FAILED]
    lines = []
    for state in failed[:MOST_FAILURES]:
        one = state.element
        lines.append(f'{one.name} failed ({state.reason}), {one.folder}/log.txt:')
        lines += [f'    {line[:300]}' for line in log_end(one.folder)]
        lines.append(f'  by hand: {one.typed()}')
    if len(failed) > MOST_FAILURES:
        lines.append(f'... and {len(failed) - MOST_FAILURES} more failed')
    return lines


# The tables of all evaluations.


def screen_tables(found: Found) -> list[Table[SummaryRow]]:
    """The table of every evaluation."""
    return [Table(ACCURACY, one.shown, name, _short_note(one)) for name, one in found.items()]


def _short_note(found: Evaluation) -> str:
    """On how many videos a table is based."""
    facts = found.facts
    part = f' ({facts["part"]})' if facts.get('part') else ''
    videos = counted(facts['num_videos'], 'video')
    views = counted(facts['views_per_video'], 'view')
    failed = not_finite_note(found.rows)
    return f'{videos} x {views}{part}, {facts["precision"]}. {failed}'.rstrip()


# Of all evaluations in one table: for programs as results.csv of each, behind three columns more.
_ALL: tuple[Column[tuple[str, Evaluation, SummaryRow]], ...] = (
    Column('evaluation', value=lambda held: held[0]),
    Column('config', value=lambda held: held[1].facts['config']),
    Column('checkpoint', value=lambda held: held[1].facts['checkpoint']),
    Column('name', value=lambda held: held[2].name),
    Column('', 'evaluation, variant', value=lambda held: f'{held[0]}, {held[2].name}'),
    *(column.of(lambda held: held[2]) for column in ACCURACY[1:]),
)


def _markdown(manifest: Manifest, found: Found, states: Sequence[ElementState]) -> str:
    """All tables, the states of the elements, and how it was made."""
    facts = manifest.facts
    lines = [f'# {manifest.name}', '', summary_line(states), '']
    for name, one in found.items():
        lines += [f'## {name}', '', *one.table.markdown(), '', one.note, '']
    lines += ['## Elements', '', *Table(STATES, states).markdown(), '']
    errors = [f'- {s.element.name} failed: {s.error}' for s in states if s.error]
    lines += [*errors, ''] if errors else []
    lines += [f'Commit {facts.get("commit") or "unknown"}, {facts.get("time_utc")}.', '', '```']
    lines += [str(facts.get('command')), '```']
    return '\n'.join(lines) + '\n'


def _latex(manifest: Manifest, found: Found) -> str:
    """A table per evaluation."""
    facts = manifest.facts
    return '\n'.join(
        Table(ACCURACY, one.shown, f'{manifest.name}: {name}').latex(
            f'tab:{manifest.name}:{name}',
            notes=[f'{_short_note(one)} {GFLOP_NOTE}'],
            comments=[str(facts.get('command')), f'commit {facts.get("commit")}'],
        )
        for name, one in found.items()
    )


def _figure(found: Found, title: str) -> Figure:
    """Accuracy against cost of all evaluations, a line per evaluation and pruner."""
    rows = [row for name, one in found.items() for row in _lines(name, one.shown)]
    videos = [one.facts['num_videos'] for one in found.values()]
    note = 'a line per evaluation and pruner, from no pruning on; no intervals: see each evaluation'
    return plot_accuracy_vs_gflops(rows, num_videos=min(videos), title=title, note=note)


def _lines(name: str, rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """Rows under names of lines that are their own; every line begins at no pruning."""
    families = list(dict.fromkeys(row.pruner for row in rows if row.pruner))
    unpruned = [row for row in rows if not row.pruner]
    lines = []
    for family in families or ['']:
        label = f'{name} {family}'.strip() if len(families) > 1 else name
        own = [row for row in rows if row.pruner == family] if family else []
        lines += [dataclasses.replace(row, pruner=label) for row in (*unpruned, *own)]
    return lines


def _page(manifest: Manifest, found: Found, states: Sequence[ElementState], figure: Figure) -> str:
    rows = [(name, one, row) for name, one in found.items() for row in one.shown]
    plots = [Picture(inline_svg(figure, 'All evaluations'), 'All evaluations')]
    for name, one in found.items():
        own = accuracy_plot(one, name)
        more = f'{name}; classes and more in {RESULTS}/{name}/{PAGE}'
        plots.append(Picture(inline_svg(own, f'Accuracy of {name}'), more))
    notes = ' '.join(f'{name}: {_short_note(one)}' for name, one in found.items())
    notes += ''.join(f' {s.element.name} failed: {s.error}.' for s in states if s.error)
    return render(
        title=manifest.name,
        facts=dict(manifest.facts),
        summary=summary_line(states),
        results=Table(_ALL, rows, 'Accuracy and cost'),
        note=notes,
        plots=plots,
        elements=Table(STATES, states, 'Jobs'),
    )
