"""An evaluation as one self-contained HTML file, with example clips."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from mmengine.config import Config

from sta.atomic import replacing, write_text
from sta.engine.session import say
from sta.errors import DataError
from sta.evaluation import EvaluationResult
from sta.models.prunable import PrunableRecognizer
from sta.visualization import Example, Examples, Strip, make_examples

from .classes import plot_class_changes
from .folder import Evaluation, accuracy_plot, by_class, comparison_of, speed_plot
from .plots import draw
from .table import Table, counted, has_too_few, unpaired_on_k400

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
WHERE_NUMBERS = 'its numbers stand in the tables of this page'
DARK_TEXT, DARK_GROUND = (230, 237, 243), (13, 17, 23)  # as in template.html
FOLDER, LIST, SUFFIX = 'examples', 'examples.json', '.webp'
NONE_MADE = 'No example clips: tools/test.py --examples N makes them.'
NO_EXAMPLES = Examples((), '')
EXAMPLES, EXAMPLES_S, MOST_EXAMPLES = 4, 20.0, 20


def write_page(found: Evaluation, folder: Path, *, pictures: Sequence[Path] = ()) -> Path:
    """Write report.html: one file that needs no network.

    Args:
        found: what to show.
        folder: where to; example clips are those in there.
        pictures: PNG files to show as examples.

    Returns:
        Its path.

    Raises:
        DataError: the scores, or the examples in the folder, are damaged.
        OSError: a picture cannot be read, or the page not be written.
    """
    folder, unsaid = Path(folder), _unsaid(found)
    for line in unsaid:
        say(line)
    page = render(
        title=found.title,
        facts=found.facts,
        summary=summary_of(found),
        results=found.table,
        note=' '.join(filter(None, [found.note, *unsaid])),
        plots=_plots(found),
        examples=read_examples(folder),
        pictures=[_picture(path) for path in pictures],
        classes=by_class(found) if _knows_classes(found) else None,
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
    results: Table[Any],
    note: str,
    plots: Sequence[Picture],
    summary: str = '',
    examples: Examples = NO_EXAMPLES,
    pictures: Sequence[Picture] = (),
    classes: Table[Any] | None = None,
    elements: Table[Any] | None = None,
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
        pictures: further ones.
        classes: a table.
        elements: jobs of a sweep, a table.
        left_out: videos that are named.
        num_left_out: how many there are.
        settings: of variants, name and value each.
        data: which videos the figures are of, name and value each.
    """
    template = resources.files('sta.report').joinpath('template.html').read_text('utf-8')
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters['base64'] = _in_base64
    page = environment.from_string(template).render(
        title=title,
        facts=facts,
        summary=summary,
        results=results,
        note=note,
        unpaired=unpaired_on_k400(),
        plots=plots,
        greys=grey_variables(''.join(plot.markup for plot in plots)),
        examples=examples.shown,
        examples_note=examples.note,
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
        for row in found.shown
        if row.pruner and row.top1_change is not None and row.top1_change > -1.0
        if not row.not_finite and not has_too_few(row)
    ]
    if unpruned is None or unpruned.not_finite or not close:
        return ''
    best = max(close, key=lambda row: row.reduction_percent or 0.0)
    interval = ''
    if best.top1_change_low is not None:
        interval = f', 95 % interval {best.top1_change_low:+.2f} to {best.top1_change_high:+.2f}'
    return (
        f'{best.name} saves {best.reduction_percent:.1f} % of the GFLOPs at '
        f'{best.top1_percent:.2f} % top-1, {best.top1_change:+.2f} points against no pruning '
        f'({unpruned.top1_percent:.2f} %{interval}): the largest saving among the '
        f'variants that lose less than a point.'
    )


def _unsaid(found: Evaluation) -> list[str]:
    """Scores that are not finite, where results.json of an older version does not count them."""
    said = {row.name: row.not_finite for row in found.rows}
    failed = {n: k for n, k in found.not_finite_counts().items() if said.get(n, 0) != k}
    if not failed:
        return []
    counts = ', '.join(f'{name} {count}' for name, count in failed.items())
    return [
        f'SCORES NOT FINITE in scores.npz, counted as wrong: {counts} of '
        f'{counted(len(found.scores.labels), "video")}; the numbers above do not say so.'
    ]


def _plots(found: Evaluation) -> list[Picture]:
    plots = [_plot(accuracy_plot(found), 'Accuracy against GFLOPs')]
    if all(0 < row.clips_per_s < inf for row in found.rows):
        plots.append(_plot(speed_plot(found), 'Accuracy against throughput of the model alone'))
    if len(found.scores.variants) > 1:
        names = found.class_names if _knows_classes(found) else None
        changes = plot_class_changes(comparison_of(found, names))
        plots.append(_plot(changes, 'Classes that changed most'))
    return plots


def _knows_classes(found: Evaluation) -> bool:
    """Whether there is a name for every class."""
    return len(found.class_names or ()) == int(found.scores.scores.shape[2])


def _plot(figure: Any, caption: str) -> Picture:
    return Picture(inline_svg(figure, caption), caption)


def _picture(path: Path) -> Picture:
    return Picture(inline_png(path, escape(path.stem)), path.stem)


def _without_name(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != 'name'}


def data_facts(found: Evaluation) -> list[tuple[str, str]]:
    """Which videos the figures are of: list, number, and digests by which two runs can be told."""
    facts = found.facts
    listed = facts.get('num_listed', facts['num_videos'])
    lines = [
        ('annotation file', str(facts.get('annotations') or 'not recorded')),
        ('videos', f'{facts["num_videos"]} of {listed}'),
        ('views per video', str(facts.get('views_per_video', 'not recorded'))),
    ]
    digests = facts.get('fingerprint') or {}
    return lines + [(f'fingerprint of {name}', str(value)) for name, value in digests.items()]


def flat_facts(facts: dict[str, Any], before: str = '') -> list[tuple[str, str]]:
    """Nested facts as lines: 'versions, torch' and its value."""
    lines: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f'{before}{key}'.replace('_', ' ')
        if isinstance(value, dict) and value:
            lines += flat_facts(value, f'{name}, ')
        elif value is not None:
            lines.append((name, f'{value:.3g}' if isinstance(value, float) else str(value)))
    return lines


class Picture(NamedTuple):
    """A picture with what is said for those who do not see it.

    Attributes:
        markup: HTML, safe to insert.
        caption: below it.
    """

    markup: str
    caption: str


def inline_svg(figure: Figure, description: str) -> str:
    """A figure as an SVG element that scales with the page; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': 'sta', 'svg.fonttype': 'path'}):
        draw(figure, buffer, format='svg', metadata={'Date': None, 'Creator': None})
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :]
    # Several figures in one page: names of clips and glyphs must not meet.
    mark = re.sub(r'\W', '', description)[:24]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf'\1#{mark}-', svg)
    svg = _themed(svg)
    # Black is what a shape is filled with where matplotlib says nothing.
    style = 'width:100%;height:auto;fill:var(--grey-00, #000000)'
    label = f'<svg role="img" aria-label="{description}; {WHERE_NUMBERS}" style="{style}"'
    return svg.replace('<svg', label, 1)


def _themed(svg: str) -> str:
    """Greys as variables of the page, which turns them over where the reader prefers it dark."""
    return re.sub(r'#([0-9a-f]{2})\1\1\b', r'var(--grey-\1, #\1\1\1)', svg)


def grey_variables(markup: str) -> str:
    """Declarations for a dark page of all greys that themed pictures use: white becomes its ground.

    The lightness is turned over between the page's dark ground and its text.
    """
    names = sorted(set(re.findall(r'var\(--grey-([0-9a-f]{2})', markup)))
    return ' '.join(f'--grey-{name}: {_dark(int(name, 16))};' for name in names)


def _dark(grey: int) -> str:
    share = grey / 255
    ends = zip(DARK_TEXT, DARK_GROUND, strict=True)
    return '#' + ''.join(f'{round(text + share * (ground - text)):02x}' for text, ground in ends)


def inline_png(path: Path, description: str) -> str:
    """A PNG file as an image element."""
    data = _in_base64(path.read_bytes())
    return f'<img alt="{description}" src="data:image/png;base64,{data}">'


def add_examples(
    config: Config,
    model: PrunableRecognizer,
    result: EvaluationResult,
    folder: Path,
    *,
    names: Sequence[str],
    asked: int | None = None,
) -> None:
    """Write example clips for the page; whatever goes wrong with them, the evaluation stands.

    Args:
        config: of the evaluation.
        model: in evaluation mode.
        result: what was found.
        folder: of the results.
        names: of the classes, by label.
        asked: how many, however long they take; None for a few that are quick.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        examples = make_examples(
            config,
            model,
            result,
            names=names,
            number=EXAMPLES if asked is None else asked,
            most_s=EXAMPLES_S if asked is None else inf,
        )
    except Exception as error:  # decoders, codecs and memory fail in any way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        examples = Examples((), f'No example clips: {reason}')
    if not examples.shown:
        say(examples.note)
    write_examples(examples, folder)


def write_examples(examples: Examples, folder: Path) -> Path:
    """Write the pictures, and last the list that names them.

    Returns:
        The folder inside of ``folder`` that holds them.

    Raises:
        OSError: it cannot be written.
    """
    folder = Path(folder) / FOLDER
    listed = []
    for number, example in enumerate(examples.shown, start=1):
        strips = []
        for row, strip in enumerate(example.strips):
            name = f'{number:02d}_{row}{SUFFIX}'
            with replacing(folder / name) as temporary:
                temporary.write_bytes(strip.image)
            strips.append({**strip._asdict(), 'image': name})
        listed.append({'name': example.name, 'caption': example.caption, 'strips': strips})
    text = json.dumps({'note': examples.note, 'examples': listed}, indent=2)
    write_text(folder / LIST, text + '\n')
    return folder


def read_examples(folder: Path) -> Examples:
    """The examples of a folder of results and their note; none and why where there are none.

    Raises:
        DataError: the list or a picture is damaged.
    """
    path = Path(folder) / FOLDER / LIST
    if not path.is_file():
        return Examples((), NONE_MADE)
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        shown = (
            Example(
                str(one['name']),
                str(one['caption']),
                tuple(_strip(strip, path.parent) for strip in one['strips']),
            )
            for one in found['examples']
        )
        return Examples(tuple(shown), str(found['note']))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f'{path} or a picture that it names is damaged ({error}); without the folder '
            f'{path.parent.name} the page is made without examples'
        ) from None


def _strip(found: dict[str, Any], folder: Path) -> Strip:
    name = str(found['image'])
    if Path(name).name != name or not name.endswith(SUFFIX):
        raise ValueError(f'{name!r} is no name of a {SUFFIX} file in this folder')
    return Strip(
        str(found['label']),
        str(found['alt']),
        int(found['width']),
        int(found['height']),
        (folder / name).read_bytes(),
    )


def _in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode('ascii')
