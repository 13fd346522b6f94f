"""Put the page together from what an evaluation left in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from sta.atomic import write_text
from sta.engine.session import say
from sta.evaluation import compare_classes, shown_rows

from ..classes import numbered_names, plot_class_changes
from ..columns import counted, has_too_few, unpaired_on_k400
from ..plot import plot_accuracy_vs_gflops, plot_accuracy_vs_throughput
from ..results_folder import Run, choose_pair, config_title, not_finite_counts, read_run
from .evaluation import Evaluation, read_evaluation
from .examples import read_examples
from .pictures import Picture, grey_variables, inline_png, inline_svg
from .tables import Table, classes_table, data_facts, flat_facts, results_table

PAGE = 'report.html'
# The rest of what results.json says of the environment is a table of its own.
SHOWN_APART = (
    'command',
    'annotations',
    'fingerprint',
    'num_videos',
    'num_listed',
    'views_per_video',
)
MOST_LEFT_OUT = 200


def write_page(folder: Path, *, pictures: Sequence[Path] = ()) -> Path:
    """Write report.html: one file that needs no network.

    Args:
        folder: with results.json, scores.npz and classes.csv, as tools/test.py writes them.
        pictures: PNG files to show as examples.

    Returns:
        Its path.

    Raises:
        DataError: the folder holds no results, or damaged ones.
        OSError: a picture cannot be read, or the page not be written.
    """
    folder = Path(folder)
    found, run = read_evaluation(folder), read_run(folder)
    unsaid = _unsaid(found, run)
    for line in unsaid:
        say(line)
    examples, examples_note = read_examples(folder)
    page = render(
        title=config_title(str(found.facts['config'])),
        facts=found.facts,
        summary=summary_of(found),
        results=results_table(found),
        note=' '.join(filter(None, [found.note, *unsaid])),
        plots=_plots(found, run, folder),
        examples=examples,
        examples_note=examples_note,
        pictures=[_picture(path) for path in pictures],
        classes=classes_table(folder / 'classes.csv'),
        left_out=found.left_out[:MOST_LEFT_OUT],
        num_left_out=len(found.left_out),
        settings=flat_facts({s['name']: _without_name(s) for s in found.settings}),
        data=data_facts(found),
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def render(
    *,
    title: str,
    facts: dict[str, Any],
    results: Table,
    note: str,
    plots: Sequence[Picture],
    summary: str = '',
    examples: Sequence[Any] = (),
    examples_note: str = '',
    pictures: Sequence[Picture] = (),
    classes: Table | None = None,
    elements: Table | None = None,
    left_out: Sequence[Any] = (),
    num_left_out: int = 0,
    settings: Sequence[tuple[str, str]] = (),
    data: Sequence[tuple[str, str]] = (),
) -> str:
    """The text of a page; what is empty is left out of it.

    Args:
        title: above everything.
        facts: command and environment, nested.
        results: the first table.
        note: below it.
        plots: with captions.
        summary: a sentence below the title.
        examples: clips, see :func:`read_examples`.
        examples_note: above them, or why there are none.
        pictures: further ones.
        classes: a table.
        elements: jobs of a sweep, a table.
        left_out: videos that are named.
        num_left_out: how many there are.
        settings: of variants, name and value each.
        data: which videos the figures are of, name and value each.
    """
    template = (resources.files(__package__) / 'template.html').read_text('utf-8')
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.from_string(template).render(
        title=title,
        facts=facts,
        summary=summary,
        results=results,
        note=note,
        unpaired=unpaired_on_k400(),
        plots=plots,
        greys=grey_variables(''.join(plot.markup for plot in plots)),
        examples=examples,
        examples_note=examples_note,
        pictures=pictures,
        classes=classes,
        elements=elements,
        left_out=left_out,
        num_left_out=num_left_out,
        settings=settings,
        data=data,
        environment=flat_facts({k: v for k, v in facts.items() if k not in SHOWN_APART}),
    )
    return page + '\n'


def summary_of(found: Evaluation) -> str:
    """What the best saving within a point of no pruning is, in a sentence; '' if nothing is.

    Nothing is said of too few videos, nor where scores are not finite.
    """
    unpruned = next((row for row in found.rows if not row.pruner), None)
    close = [
        row
        for row in shown_rows(found.rows)
        if row.pruner and row.top1_change is not None and row.top1_change > -1.0
        if not row.not_finite and not has_too_few(row)
    ]
    if unpruned is None or unpruned.not_finite or not close:
        return ''
    best = max(close, key=lambda row: row.reduction_percent)
    interval = ''
    if best.top1_change_low is not None:
        interval = f', 95 % interval {best.top1_change_low:+.2f} to {best.top1_change_high:+.2f}'
    return (
        f'{best.name} saves {best.reduction_percent:.1f} % of the GFLOPs at '
        f'{best.top1_percent:.2f} % top-1, {best.top1_change:+.2f} points against no pruning '
        f'({unpruned.top1_percent:.2f} %{interval}): the largest saving among the '
        f'variants that lose less than a point.'
    )


def _unsaid(found: Evaluation, run: Run) -> list[str]:
    """Scores that are not finite, where results.json of an older version does not count them."""
    said = {row.name: row.not_finite for row in found.rows}
    failed = {n: k for n, k in not_finite_counts(run.scores).items() if said.get(n, 0) != k}
    if not failed:
        return []
    counts = ', '.join(f'{name} {count}' for name, count in failed.items())
    return [
        f'SCORES NOT FINITE in scores.npz, counted as wrong: {counts} of '
        f'{counted(len(run.scores.labels), "video")}; the numbers above do not say so.'
    ]


def _plots(found: Evaluation, run: Run, folder: Path) -> list[Picture]:
    figure = plot_accuracy_vs_gflops(shown_rows(found.rows), num_videos=found.facts['num_videos'])
    plots = [_plot(figure, 'Accuracy against GFLOPs')]
    if all(row.clips_per_s > 0 for row in found.rows):
        speed = plot_accuracy_vs_throughput(
            shown_rows(found.rows),
            num_videos=found.facts['num_videos'],
            hardware=str(found.facts['hardware']),
        )
        plots.append(_plot(speed, 'Accuracy against throughput of the model alone'))
    if len(run.scores.variants) > 1:
        first, second = choose_pair(run)
        names = _class_names(folder / 'classes.csv', run.scores.scores.shape[2])
        comparison = compare_classes(
            run.scores.scores[first],
            run.scores.scores[second],
            run.scores.labels,
            variants=(run.scores.variants[first], run.scores.variants[second]),
            class_names=names,
        )
        plots.append(_plot(plot_class_changes(comparison), 'Classes that changed most'))
    return plots


def _plot(figure: Any, caption: str) -> Picture:
    return Picture(inline_svg(figure, caption), caption)


def _picture(path: Path) -> Picture:
    return Picture(inline_png(path, escape(path.stem)), path.stem)


def _class_names(path: Path, num_classes: int) -> tuple[str, ...]:
    table = classes_table(path)
    names = tuple(line[0] for line in table.lines) if table else ()
    return names if len(names) == num_classes else numbered_names(num_classes)


def _without_name(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != 'name'}
