"""Which classes a model finds, and which suffer from pruning: tables, files and pictures."""

from __future__ import annotations

import csv
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from zlib import crc32

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sta.atomic import write_text
from sta.datasets.annotations import read_class_names
from sta.errors import DataError
from sta.evaluation import (
    SIGNIFICANT,
    ClassChange,
    ClassComparison,
    Confusion,
    confusions_by_growth,
    top1_by_class,
)

from .plots import COLOURS, DPI, FONT, save_figure
from .table import (
    Column,
    Table,
    columns_of,
    counted,
    decimals,
    fixed,
    json_text,
    probabilities,
)

UNITS = 'per cent and points of top-1; p: exact McNemar, adjusted by Benjamini and Hochberg'
MOST_CHARACTERS = 80  # of a variant's name in the name of a file, which holds 255 bytes


class Guess(NamedTuple):
    """One class a variant takes a video for.

    Attributes:
        video: path.
        variant: name.
        rank: 1 for the likeliest.
        label: of the class.
        name: of the class.
        score: softmax averaged over views, 0 to 1.
    """

    video: str
    variant: str
    rank: int
    label: int
    name: str
    score: float


def best_guesses(
    video: str, variants: Sequence[str], scores: np.ndarray, names: Sequence[str], top: int
) -> list[Guess]:
    """The likeliest classes under every variant; of equal scores the lower label comes first.

    Args:
        video: path.
        variants: names of the V variants.
        scores: (V, classes).
        names: of the classes, by label.
        top: classes per variant, fewer where there are fewer.
    """
    order = np.argsort(-scores, axis=1, kind='stable')[:, :top]
    return [
        Guess(video, variant, rank, int(label), names[label], float(scores[i, label]))
        for i, variant in enumerate(variants)
        for rank, label in enumerate(order[i], 1)
    ]


def guesses_table(guesses: Sequence[Guess]) -> Table[Any]:
    """One video's guesses for people: a line per rank, a column per variant."""
    by_rank: dict[int, dict[str, str]] = {}
    for guess in guesses:
        cells = by_rank.setdefault(guess.rank, {'rank': str(guess.rank)})
        cells[f'\n{guess.variant}'] = f'{guess.name} {100 * guess.score:.1f} %'
    columns = [Column[Any](key, key) for key in by_rank[1]]
    return Table(columns, list(by_rank.values()), title=guesses[0].video)


def guesses_records(guesses: Sequence[Guess]) -> Table[Guess]:
    """Guesses for programs, one each."""
    return Table(columns_of(Guess._fields), guesses)


def numbered_names(num_classes: int) -> tuple[str, ...]:
    """'class 0' and so on, where nobody says what the classes are called."""
    return tuple(f'class {label}' for label in range(num_classes))


def class_names_of(source: str | None, num_classes: int, *, holder: str) -> tuple[str, ...]:
    """Names of a list of classes, numbers where there is none.

    Args:
        source: an official data set, or a file with a name a line; None for numbers.
        num_classes: that there have to be.
        holder: of these classes, for the message.

    Raises:
        DataError: the list cannot be read, or has another number of names.
    """
    if source is None:
        return numbered_names(num_classes)
    names = read_class_names(source)
    if len(names) != num_classes:
        raise DataError(f'class list {source} has {len(names)} names, {holder} {num_classes}')
    return names


def classes_table(
    scores: np.ndarray, labels: np.ndarray, variants: Sequence[str], names: Sequence[str]
) -> Table[Any]:
    """Top-1 of every class under every variant, a line per class.

    Args:
        scores: (V, videos, classes).
        labels: (videos,) int64.
        variants: V names.
        names: of the classes, by label.

    Raises:
        ValueError: not as many names as the scores have classes.
    """
    if len(names) != scores.shape[2]:
        raise ValueError(f'{len(names)} names of classes, scores of {scores.shape[2]}')
    columns = [Column[Any]('label'), Column('name', 'class'), Column('videos', 'videos')]
    # 'top1_percent:', because a variant may be called 'name'
    columns += [Column(f'top1_percent:{name}', name, decimals(1)) for name in variants]
    videos = np.bincount(labels, minlength=len(names)).tolist()
    found = zip(range(len(names)), names, videos, *(top1_by_class(s, labels) for s in scores))
    keys = [column.name for column in columns]
    rows = [dict(zip(keys, values, strict=True)) for values in found]
    return Table(columns, rows, title='Top-1 by class (%)')


def names_in(path: Path) -> tuple[str, ...] | None:
    """Names by label out of a classes.csv; None where there is none."""
    if not path.is_file():
        return None
    with path.open(encoding='utf-8', newline='') as file:
        return tuple(line['name'] for line in csv.DictReader(file))


class Ends(NamedTuple):
    """Both ends of all classes that have videos, ranked by change, the worst first.

    Attributes:
        worst: the beginning; all classes where both ends would meet.
        hidden: how many lie between.
        best: the end.
    """

    worst: tuple[ClassChange, ...]
    hidden: int
    best: tuple[ClassChange, ...]


def both_ends(comparison: ClassComparison, top: int) -> Ends:
    """The ``top`` classes of either end.

    Of equal changes the one with more videos behind it lies further out, then the lower label.
    """
    seen = [change for change in comparison.changes if change.videos]
    ranked = tuple(sorted(seen, key=lambda c: (c.change_points, c.gained - c.lost, c.label)))
    if len(ranked) <= 2 * top:
        return Ends(ranked, 0, ())
    return Ends(ranked[:top], len(ranked) - 2 * top, ranked[-top:])


CHANGES: tuple[Column[ClassChange], ...] = (
    Column('label'),
    Column('name', 'class'),
    Column('videos', '\nvideos'),
    Column('before_percent', 'before\n%', decimals(1)),
    Column('after_percent', 'after\n%', decimals(1)),
    Column('change_points', 'change\npoints', decimals(1, '+')),
    *columns_of(['correct_before', 'correct_after']),
    Column('lost', '\nlost'),
    Column('gained', '\ngained'),
    Column('p_value', '\np', probabilities),
    Column('adjusted_p'),
    Column('', 'adj.\np', probabilities, lambda c: '-' if c.label is None else c.adjusted_p),
)
GROWN: tuple[Column[Confusion], ...] = (
    Column('before', 'videos\nbefore'),
    Column('after', 'videos\nafter'),
    Column('growth', '\ngrowth', decimals(0, '+')),
)


def changes_table(comparison: ClassComparison, top: int) -> Table[Any]:
    """The classes that fell and rose most, and all classes together.

    Args:
        comparison: of two variants.
        top: classes from either end.
    """
    ends = both_ends(comparison, top)
    between = [f'... {counted(ends.hidden, "class", "classes")} between'] if ends.hidden else []
    return Table(
        [_with_words(column) for column in CHANGES],
        [*ends.worst, *between, *ends.best, comparison.total],
        title=f'Classes: before = {comparison.before}, after = {comparison.after}',
        note=_caption(comparison),
    )


def _with_words(column: Column[ClassChange]) -> Column[Any]:
    """The same column, of rows some of which are only words in the place of a name."""

    def value(row: ClassChange | str) -> Any:
        if isinstance(row, str):
            return row if column.name == 'name' else ''
        return column.of_row(row)

    return Column(column.name, column.head, column.show, value)


def confusions_table(comparison: ClassComparison, top: int) -> Table[Any]:
    """The mistakes that became more frequent, at most ``top`` of them."""
    title, head = 'Confusions that grew most', 'true -> predicted'
    grown, names = grown_confusions(comparison, top), comparison.class_names
    if not grown:
        return Table([Column('', head, value=str)], ['none grew'], title)
    first: Column[Confusion] = Column(
        '', head, value=lambda c: f'{names[c.true]} -> {names[c.predicted]}'
    )
    note = 'videos: how many of the first class were taken for the second.'
    return Table((first, *GROWN), grown, title, note)


def grown_confusions(comparison: ClassComparison, top: int) -> list[Confusion]:
    """At most ``top`` mistakes, all of them more frequent than before."""
    ranked = confusions_by_growth(comparison.matrix_before, comparison.matrix_after)
    return [confusion for confusion in ranked[:top] if confusion.growth > 0]


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


def write_comparison(
    comparison: ClassComparison, folder: Path, facts: Mapping[str, Any], *, top: int
) -> list[Path]:
    """Write classes_A_vs_B.csv, .json, .md and both pictures, each whole or not at all.

    Args:
        comparison: of variants A and B.
        folder: where to; made when missing, an older comparison of the same two is replaced.
        facts: how it was made; ``command`` among it.
        top: classes from either end, and confusions, in Markdown and pictures.

    Returns:
        What was written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    pair = f'{in_file_name(comparison.before)}_vs_{in_file_name(comparison.after)}'
    bars = save_figure(plot_class_changes(comparison, top=top), folder, f'classes_{pair}')
    confusions = save_figure(plot_confusions(comparison, top=top), folder, f'confusions_{pair}')
    addresses = [quote(png.name) for png, _ in (bars, confusions)]
    texts = {
        'csv': Table(CHANGES, comparison.changes).csv(),
        'json': _json(comparison, facts),
        'md': _markdown(comparison, facts, addresses, top=top),
    }
    paths = {kind: folder / f'classes_{pair}.{kind}' for kind in texts}
    for kind, text in texts.items():
        write_text(paths[kind], text)
    return [*paths.values(), *bars, *confusions]


def _json(comparison: ClassComparison, facts: Mapping[str, Any]) -> str:
    """Every class and every confusion that occurs, those that grew most first; strict JSON."""
    confusions = confusions_by_growth(comparison.matrix_before, comparison.matrix_after)
    without = dict(zip(('before', 'after'), comparison.unpredicted, strict=True))
    return json_text(
        {
            'environment': facts,
            'units': UNITS,
            'before': comparison.before,
            'after': comparison.after,
            'videos_with_scores_that_are_no_numbers': without,
            'total': Table(CHANGES, [comparison.total]).records()[0],
            'classes': Table(CHANGES, comparison.changes).records(),
            'confusions': [confusion._asdict() for confusion in confusions],
        }
    )


def _markdown(
    comparison: ClassComparison, facts: Mapping[str, Any], pictures: Sequence[str], *, top: int
) -> str:
    """The tables of the screen and the pictures, named by their addresses, for GitHub."""
    lines = []
    for table in (changes_table(comparison, top), confusions_table(comparison, top)):
        lines += [f'**{table.title}**', '', *table.markdown(), '']
        lines += [table.note, ''] if table.note else []
    lines += [f'![]({picture})' for picture in pictures]
    return '\n'.join([*lines, '', '```', facts['command'], '```']) + '\n'


def in_file_name(variant: str) -> str:
    """A variant's name without what file systems refuse; still another one for another variant."""
    safe = re.sub(r'[^\w.,=+\[\]-]', '_', variant, flags=re.ASCII)[:MOST_CHARACTERS]
    return safe if safe == variant else f'{safe}-{crc32(variant.encode()):08x}'


# Pictures of changes and confusions.

WIDTH_INCHES = 9.0
NAME_CHARACTERS = 44  # the longest name of Something-Something V2, 98 characters, takes three lines
TITLE_CHARACTERS = 80
LINE_INCHES = 0.17  # of a name at its size
TITLE_LINE_INCHES = 0.21
GAP_INCHES = 0.13  # between two names
FRAME_INCHES = 1.35  # title, axis and legend
ROSE, FELL = COLOURS[0], COLOURS[1]
BEFORE, AFTER = '0.65', COLOURS[1]
PALE = 0.35  # opacity of what may be chance
BAR_INCHES = 0.19
MOST_ROWS = 50  # of either end; a longer picture is no picture any more
LEGEND_CHARACTERS = 50
ARROW = '\N{RIGHTWARDS ARROW}'
MOST_CLASSES = 20
SHORT = 28  # characters of a name that can stand upright below a column
MATRIX_NAME_CHARACTERS = 36
CELL_INCHES = 0.4
TALL_CELL_INCHES = 0.56  # room for a name of three lines beside it
FEWEST_CELLS = 6  # what the title needs in width, the scale of colours in height
CHARACTER_INCHES = 0.085  # of a name at its size
MATRIX_FRAME_INCHES = (
    2.0,
    1.0,
)  # beside the matrices, with the scale of colours; below and above them


def wrapped(name: str, characters: int = NAME_CHARACTERS) -> str:
    """A name on lines of at most so many characters, safe from being read as a formula."""
    return textwrap.fill(name, characters, break_on_hyphens=False).replace('$', r'\$')


def _rows_figure(names: Sequence[str]) -> tuple[Figure, Axes, np.ndarray]:
    """An empty figure with a row for each name, from top to bottom.

    Args:
        names: wrapped already.

    Returns:
        The figure, its axes, whose y runs downwards in inches, and the (rows,) centres of the rows.
    """
    heights = np.array([LINE_INCHES * (1 + name.count('\n')) + GAP_INCHES for name in names])
    ends = heights.cumsum()
    size = (WIDTH_INCHES, ends[-1] + FRAME_INCHES)
    figure = Figure(figsize=size, dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_ylim(ends[-1], 0.0)
    centres = ends - heights / 2
    axes.set_yticks(centres, names, fontsize=FONT - 1, linespacing=1.05)
    axes.tick_params(axis='y', length=0)
    axes.tick_params(axis='x', labelsize=FONT - 1)
    axes.grid(axis='x', color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    return figure, axes, centres


def _dress(figure: Figure, *, title: str, legend: Sequence[Patch]) -> None:
    """Put a title above and a legend below.

    Args:
        figure: of this module.
        title: wrapped when long.
        legend: what colours mean.
    """
    lines = wrapped(title, TITLE_CHARACTERS)
    figure.suptitle(lines, fontsize=FONT + 1)
    notes = max(str(patch.get_label()).count('\n') for patch in legend)
    width, height = figure.get_size_inches()
    # else long names of variants would take the room of the rows
    figure.set_size_inches(width, height + TITLE_LINE_INCHES * (lines.count('\n') + notes))
    figure.legend(
        handles=legend,
        loc='outside lower center',
        ncols=len(legend),
        fontsize=FONT - 1,
        frameon=False,
    )


def plot_class_changes(comparison: ClassComparison, *, top: int = 15) -> Figure:
    """Change in top-1 of the classes that fell and rose most, the worst first.

    Args:
        comparison: of two variants.
        top: classes from either end; at most 50 are drawn.
    """
    ends = both_ends(comparison, min(top, MOST_ROWS))
    shown: list[ClassChange | None] = list(ends.worst)
    if ends.hidden:
        shown += [None, *ends.best]
    between = f'({counted(ends.hidden, "class", "classes")} between)'
    names = [wrapped(change.name) if change else between for change in shown]
    figure, axes, centres = _rows_figure(names)
    for y, change in zip(centres, shown, strict=True):
        if change:
            _draw_change(axes, y, change)
    axes.axvline(0, color='0.3', linewidth=1.0)
    axes.set_xlim(*_limits([change.change_points or 0.0 for change in shown if change]))
    axes.set_xlabel('change in top-1 (points)', fontsize=FONT)
    _note(axes, 0.0, 'lost, gained\nof videos', va='bottom')
    sure = f'adjusted p below {SIGNIFICANT}'
    legend = [
        Patch(facecolor=FELL, label=f'fell, {sure}'),
        Patch(facecolor=ROSE, label=f'rose, {sure}'),
        Patch(facecolor='0.3', alpha=PALE, label='pale: may be chance'),
    ]
    _dress(figure, title=f'{comparison.before} {ARROW} {comparison.after}', legend=legend)
    return figure


def plot_grown_confusions(comparison: ClassComparison, *, top: int = 15) -> Figure:
    """The mistakes that became more frequent, before and after.

    Args:
        comparison: of two variants.
        top: how many; at most 50 are drawn.
    """
    grown = grown_confusions(comparison, min(top, MOST_ROWS))
    classes = [wrapped(name) for name in comparison.class_names]
    names = [f'{classes[c.true]}\n{ARROW} {classes[c.predicted]}' for c in grown]
    figure, axes, centres = _rows_figure(names or ['no confusion grew'])
    for y, confusion in zip(centres, grown, strict=False):
        _draw_confusion(axes, y, confusion)
    axes.set_xlim(0, 1.1 * max((c.after for c in grown), default=1))
    locator = axes.xaxis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        locator.set_params(integer=True)
    axes.set_xlabel('videos of the first class taken for the second', fontsize=FONT)
    legend = [
        Patch(facecolor=BEFORE, label=wrapped(comparison.before, LEGEND_CHARACTERS)),
        Patch(facecolor=AFTER, label=wrapped(comparison.after, LEGEND_CHARACTERS)),
    ]
    _dress(figure, title='Confusions that grew most', legend=legend)
    return figure


def _limits(points: list[float]) -> tuple[float, float]:
    """Of the axis: with zero, and with room for the figures at the ends of the bars."""
    low, high = min(0.0, *points), max(0.0, *points)
    room = 0.14 * (high - low) or 1.0
    return low - room, high + room


def _draw_change(axes: Axes, y: float, change: ClassChange) -> None:
    points = change.change_points or 0.0
    colour = FELL if points < 0 else ROSE
    alpha = 1.0 if change.is_significant else PALE
    axes.barh(y, points, height=BAR_INCHES, color=colour, alpha=alpha)
    _end(axes, y, points, *fixed([points], 1, '+'))
    _note(axes, y, f'{change.lost}, {change.gained} of {change.videos}', va='center')


def _draw_confusion(axes: Axes, y: float, confusion: Confusion) -> None:
    thickness = 0.7 * BAR_INCHES
    for shift, count, colour in ((-0.5, confusion.before, BEFORE), (0.5, confusion.after, AFTER)):
        place = y + shift * thickness
        axes.barh(place, count, height=thickness, color=colour)
        _end(axes, place, count, str(count))


def _end(axes: Axes, y: float, x: float, text: str) -> None:
    """A figure at the outer end of a bar."""
    side = -1 if x < 0 else 1
    axes.annotate(
        text,
        (x, y),
        xytext=(3 * side, 0),
        textcoords='offset points',
        ha='right' if side < 0 else 'left',
        va='center',
        fontsize=FONT - 2,
        color='0.25',
    )


def _note(axes: Axes, y: float, text: str, *, va: str) -> None:
    """Grey text to the right of the axes."""
    place = (1.01, y)
    coordinates = ('axes fraction', 'data')
    axes.annotate(
        text, place, xycoords=coordinates, va=va, fontsize=FONT - 2, color='0.35', clip_on=False
    )


def plot_confusions(comparison: ClassComparison, *, top: int = 15) -> Figure:
    """Both confusion matrices where there are at most 20 classes, else the mistakes that grew most.

    Args:
        comparison: of two variants.
        top: mistakes, where there are more classes.
    """
    if len(comparison.changes) > MOST_CLASSES:
        return plot_grown_confusions(comparison, top=top)
    return plot_matrices(comparison)


def plot_matrices(comparison: ClassComparison) -> Figure:
    """Confusion matrices of both variants: videos as figures, share of the true class as colour."""
    classes, total = comparison.class_names, comparison.total
    is_short = max(map(len, classes)) <= SHORT
    first = _matrix_title(comparison.before, total.before_percent)
    second = _matrix_title(comparison.after, total.after_percent)
    width, height = _matrix_size(classes, is_short=is_short)
    height += TITLE_LINE_INCHES * max(first.count('\n'), second.count('\n'))
    figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_matrix(left, comparison.matrix_before, first)
    image = _draw_matrix(right, comparison.matrix_after, second)
    _name_classes(left, right, classes, is_short=is_short)
    bar = figure.colorbar(image, ax=[left, right], shrink=0.7, pad=0.02)
    bar.set_label('% of the true class', fontsize=FONT - 1)
    return figure


def _matrix_size(classes: tuple[str, ...], *, is_short: bool) -> tuple[float, float]:
    """Inches in which cells come out about square, or as high as the names beside them."""
    cells = max(len(classes), FEWEST_CELLS)
    names = CHARACTER_INCHES * min(max(map(len, classes)), MATRIX_NAME_CHARACTERS)
    width, height = MATRIX_FRAME_INCHES
    width += 2 * CELL_INCHES * cells + names
    if is_short:
        return width, height + CELL_INCHES * cells + names
    return width, height + TALL_CELL_INCHES * cells


def _matrix_title(variant: str, top1_percent: float | None) -> str:
    return f'{wrapped(variant, MATRIX_NAME_CHARACTERS)}\ntop-1 {fixed([top1_percent], 2)[0]} %'


def _draw_matrix(axes: Axes, matrix: np.ndarray, title: str) -> AxesImage:
    """One matrix; its cells without videos stay white and empty."""
    videos = matrix.sum(1, keepdims=True)
    share = 100.0 * matrix / np.maximum(videos, 1)
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=100, aspect='auto')
    for (i, j), count in np.ndenumerate(matrix):
        if count:
            colour = 'white' if share[i, j] > 55 else '0.15'
            size = FONT - 2 if count < 10_000 else FONT - 4
            axes.text(j, i, str(count), ha='center', va='center', color=colour, fontsize=size)
    axes.set_title(title, fontsize=FONT)
    axes.set_xlabel('predicted', fontsize=FONT)
    axes.set_xticks(np.arange(len(matrix) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(matrix) + 1) - 0.5, minor=True)
    axes.grid(which='minor', color='0.88', linewidth=0.6)
    axes.tick_params(which='both', length=0)
    return image


def _name_classes(left: Axes, right: Axes, classes: tuple[str, ...], *, is_short: bool) -> None:
    """Names of rows, and of columns where they fit there; else labels stand for them."""
    places = range(len(classes))
    names = [wrapped(name, MATRIX_NAME_CHARACTERS) for name in classes]
    beside = names if is_short else [f'{name}  [{i}]' for i, name in enumerate(names)]
    below = names if is_short else [f'[{i}]' for i in places]
    for axes in (left, right):
        axes.set_xticks(places, below, rotation=90 if is_short else 0, fontsize=FONT - 2)
    left.set_yticks(places, beside, fontsize=FONT - 2)
    left.set_ylabel('true', fontsize=FONT)
