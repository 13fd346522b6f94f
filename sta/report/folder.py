"""One evaluation and its folder: made once from what was found, saved, and loaded again.

results.json and results.csv are for programs, results.md for people, scores.npz for statistics.
Nothing in a folder is trusted.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from sta import __version__
from sta.atomic import replacing, write_text
from sta.datasets.class_names import read_class_names
from sta.environment import commit_of, distribution_version
from sta.errors import DataError
from sta.evaluation import (
    FEWEST_VIDEOS,
    ClassComparison,
    EvaluationResult,
    LeftOut,
    NotFinite,
    SummaryRow,
    all_finite,
    compare_classes,
    shown_rows,
    standard_error,
    summarise,
    top_k_correct,
)

from .classes import classes_table, names_in, numbered_names
from .plots import plot_accuracy_vs_gflops, plot_accuracy_vs_throughput, save_figure
from .table import (
    ACCURACY,
    GFLOP_NOTE,
    TOO_FEW,
    Table,
    columns_of,
    counted,
    has_too_few,
    json_text,
    not_finite_note,
    plain,
    print_table,
)

LIBRARIES = ('torch', 'numpy', 'mmaction2', 'mmengine', 'mmcv', 'mmcv-lite', 'av', 'decord')
# What results.json says at least, where scores are enough.
NOTHING: dict[str, Any] = dict(rows=(), variants=(), environment={}, note='', left_out=())
RESULTS, SCORES, CLASSES = 'results.json', 'scores.npz', 'classes.csv'


class Scores(NamedTuple):
    """What scores.npz holds.

    Attributes:
        variants: names of the V variants.
        scores: (V, videos, classes) float32, softmax averaged over a video's views.
        labels: (videos,) int64.
        names: file name of each video.
    """

    variants: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as its folder holds it; tables, plots and page are drawn from this.

    Attributes:
        rows: a line per variant, and means over seeds; none where results.json is not there.
        settings: of every variant: name, pruner, schedule, tokens and parameters.
        facts: command, config, versions and so on.
        note: the footer of the table.
        left_out: videos that could not be decoded.
        not_finite: videos whose scores are not finite.
        class_names: by label; None where nobody wrote them down.
        read: gives the scores, which may be large.
    """

    rows: tuple[SummaryRow, ...]
    settings: tuple[dict[str, Any], ...]
    facts: dict[str, Any]
    note: str
    left_out: tuple[LeftOut, ...]
    not_finite: tuple[NotFinite, ...]
    class_names: tuple[str, ...] | None
    read: Callable[[], Scores]

    @functools.cached_property
    def scores(self) -> Scores:
        """Of every video under every variant.

        Raises:
            DataError: the file is not there, damaged, or not ours.
        """
        return self.read()

    @property
    def shown(self) -> list[SummaryRow]:
        """Rows for people: means over seeds in place of what they are the means of."""
        return shown_rows(self.rows)

    @property
    def table(self) -> Table[SummaryRow]:
        """Accuracy next to cost for people, a line per variant."""
        return Table(ACCURACY, self.shown, 'Accuracy and cost', self.note)

    @property
    def title(self) -> str:
        """What plots and page are called: the config's name, or its folder's where it has none."""
        path = Path(str(self.facts['config']))  # tools/prepare_custom.py calls every one config.py
        return path.absolute().parent.name if path.stem == 'config' else path.stem

    @property
    def class_list(self) -> str | None:
        """What ``read_class_names`` takes, as the evaluation recorded it; None if it did not."""
        recorded = self.facts.get('classes')
        return recorded if isinstance(recorded, str) and recorded else None

    @property
    def unpruned(self) -> str | None:
        """Name of the variant that drops nothing; None if none does or nobody says."""
        whole = {str(own.get('name')): own.get('num_tokens') for own in self.settings}
        for row in self.rows:
            is_whole = row.name in whole and row.tokens_kept == whole[row.name]
            if is_whole and not row.cost_is_average and row.name in self.scores.variants:
                return row.name
        return 'unpruned' if 'unpruned' in self.scores.variants else None

    def not_finite_counts(self) -> dict[str, int]:
        """How many videos have scores that are NaN or infinite, by variant; those that have any."""
        failed = (~all_finite(self.scores.scores)).sum(1)
        return {name: int(n) for name, n in zip(self.scores.variants, failed, strict=True) if n}


def evaluation_of(
    result: EvaluationResult,
    *,
    command: str,
    config: str,
    checkpoint: str,
    annotations: str | None = None,
    fingerprint: Mapping[str, str] | None = None,
) -> Evaluation:
    """Summarise what was found; the only place that does.

    Args:
        result: what was found.
        command: the command line that made it.
        config: path of the config.
        checkpoint: path of the weights.
        annotations: path of the list of videos; None where nobody says.
        fingerprint: digests of weights, videos, pipeline and so on, see
            :func:`sta.engine.fingerprint.fingerprint_of`; None where nobody says.

    Raises:
        DataError: the list of the classes cannot be read.
    """
    rows = summarise(result)
    made = {'command': command, 'config': config, 'checkpoint': checkpoint}
    settings = [
        {
            'name': v.variant.name,
            'pruner': v.variant.pruner,
            'schedule': v.variant.schedule,
            'num_tokens': v.cost.num_tokens,
            'num_parameters': v.cost.num_parameters,
        }
        for v in result.variants
    ]
    names = numbered_names(result.variants[0].scores.shape[1])
    return Evaluation(
        rows=tuple(rows),
        settings=tuple(plain(settings)),
        facts=plain(
            {
                **made,
                'annotations': annotations,
                'fingerprint': dict(fingerprint or {}),
                **_environment(result),
            }
        ),
        note=_note(result, rows),
        left_out=result.left_out,
        not_finite=result.not_finite,
        class_names=names if result.class_list is None else read_class_names(result.class_list),
        read=lambda: Scores(
            variants=tuple(v.variant.name for v in result.variants),
            scores=np.stack([v.scores for v in result.variants]).astype(np.float32),
            labels=np.asarray(result.labels, dtype=np.int64),
            names=tuple(result.names),
        ),
    )


def print_evaluation(found: Evaluation, console: Console | None = None) -> None:
    """Print the table with its footer, and which videos were left out or failed."""
    print_table(found.table, console)
    for line in (*_left_out_lines(found), *_not_finite_lines(found)):
        (console or Console()).print(line, markup=False, highlight=False, soft_wrap=True)


def write_results(found: Evaluation, folder: Path) -> list[Path]:
    """Write results.json, .csv and .md, scores.npz and left_out.csv, each whole or not at all.

    Args:
        found: to write.
        folder: where to; made when missing, older results are replaced.

    Returns:
        The paths; left_out.csv only where a video was left out.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    rows = Table(ACCURACY, found.rows)
    texts = {
        RESULTS: json_text(
            {
                'environment': found.facts,
                'units': GFLOP_NOTE,
                'variants': found.settings,
                'rows': rows.records(),
                'note': found.note,
                'left_out': [video._asdict() for video in found.left_out],
                'not_finite': [video._asdict() for video in found.not_finite],
            }
        ),
        'results.csv': rows.csv(),
        'results.md': _markdown(found),
    }
    if found.left_out:
        texts['left_out.csv'] = Table(columns_of(LeftOut._fields), found.left_out).csv()
    with replacing(folder / SCORES) as temporary, temporary.open('wb') as file:
        scores = found.scores
        np.savez_compressed(
            file,
            variants=np.array(scores.variants, dtype=np.str_),
            scores=scores.scores,
            labels=scores.labels,
            names=np.array(scores.names, dtype=np.str_),
        )
    for name in reversed(texts):  # results.json last: where it is, everything is
        write_text(folder / name, texts[name])
    return [folder / name for name in (*texts, SCORES)]


def write_evaluation(found: Evaluation, folder: Path) -> list[Path]:
    """Classes, plots, tables and scores; results.json marks a run as finished and comes last.

    Returns:
        The paths.

    Raises:
        OSError: the folder cannot be written.
    """
    plots = [
        *save_figure(accuracy_plot(found, found.title), folder, 'accuracy_vs_gflops'),
        *save_figure(speed_plot(found, found.title), folder, 'accuracy_vs_throughput'),
    ]
    classes = Path(folder) / CLASSES
    write_text(classes, by_class(found).csv())
    return [*write_results(found, folder), classes, *plots]


def accuracy_plot(found: Evaluation, title: str = '') -> Any:
    """Top-1 over GFLOPs."""
    return plot_accuracy_vs_gflops(found.shown, num_videos=found.facts['num_videos'], title=title)


def speed_plot(found: Evaluation, title: str = '') -> Any:
    """Top-1 over views per second."""
    return plot_accuracy_vs_throughput(
        found.shown,
        num_videos=found.facts['num_videos'],
        hardware=str(found.facts['hardware']),
        title=title,
    )


def by_class(found: Evaluation) -> Table[Any]:
    """Top-1 of every class under every variant.

    Raises:
        ValueError: not as many names as classes.
    """
    scores, names = found.scores, found.class_names or ()
    return classes_table(scores.scores, scores.labels, scores.variants, names)


def load(folder: Path, *, needs_results: bool = True) -> Evaluation:
    """Read what :func:`write_results` left; scores only once they are asked for.

    Args:
        folder: of one evaluation.
        needs_results: whether results.json must be there; else scores are enough.

    Raises:
        DataError: no such folder, no results, or ones that are damaged or not ours.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'{folder} is not a folder: give one that tools/test.py wrote')
    path, read = folder / RESULTS, functools.partial(_checked_scores, folder)
    if not path.is_file():
        if needs_results:
            raise DataError(f'{folder} holds no {RESULTS}: give a folder that tools/test.py wrote')
        return Evaluation((), (), {}, '', (), (), names_in(folder / CLASSES), read)
    try:
        found = json.loads(path.read_text(encoding='utf-8'), parse_constant=_no_number)
        if not needs_results:
            found = {**NOTHING, **found}
        elif not found['rows']:
            raise ValueError('it must hold the rows')
        return Evaluation(
            rows=tuple(_row(row) for row in found['rows']),
            settings=tuple(map(dict, found['variants'])),
            facts=dict(found['environment']),
            note=str(found['note']),
            left_out=tuple(LeftOut(**video) for video in found['left_out']),
            not_finite=tuple(
                NotFinite(v['name'], v['label'], tuple(v['variants']))
                for v in found.get('not_finite', ())  # which older versions do not write
            ),
            class_names=names_in(folder / CLASSES),
            read=read,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        if not needs_results:
            raise DataError(
                f'{path} is damaged: {reason}; without it, the scores are enough'
            ) from None
        raise DataError(
            f'{path} is not what this version of tools/test.py writes: {reason}'
        ) from None


def read_scores(path: Path) -> Scores:
    """Read scores.npz without unpickling anything.

    Raises:
        OSError, KeyError, ValueError: no such file, or not one of ours.
    """
    with np.load(path, allow_pickle=False) as file:
        return Scores(
            variants=tuple(file['variants'].tolist()),
            scores=file['scores'],
            labels=file['labels'],
            names=tuple(file['names'].tolist()),
        )


def choose_pair(found: Evaluation, asked: Sequence[str] | None = None) -> tuple[int, int]:
    """Places of the two variants to compare.

    Args:
        found: with its scores.
        asked: two names; default the variant that drops nothing, or else the first one, and the one
            of the others with the lowest top-1, of equals the last.

    Raises:
        DataError: fewer than two variants, an unknown one, or the same one twice.
    """
    scores = found.scores
    variants, known = scores.variants, ', '.join(scores.variants)
    if len(variants) < 2:
        raise DataError(f'two variants are needed to compare; the scores are of {known} alone')
    if asked is not None:
        for name in asked:
            if name not in variants:
                raise DataError(f'no variant {name!r}; the scores are of {known}')
        if asked[0] == asked[1]:
            raise DataError(f'{asked[0]!r} cannot be compared with itself; there are {known}')
        return variants.index(asked[0]), variants.index(asked[1])
    first = variants.index(found.unpruned) if found.unpruned else 0
    others = [i for i in range(len(variants)) if i != first]
    correct = {i: int(top_k_correct(scores.scores[i], scores.labels, 1).sum()) for i in others}
    return first, min(others, key=lambda i: (correct[i], -i))


def comparison_of(
    found: Evaluation, names: Sequence[str] | None, asked: Sequence[str] | None = None
) -> ClassComparison:
    """Two variants class by class.

    Args:
        found: with its scores.
        names: of the classes, by label; None numbers them.
        asked: the variants, see :func:`choose_pair`.

    Raises:
        DataError: see :func:`choose_pair`.
    """
    first, second = choose_pair(found, asked)
    scores = found.scores
    return compare_classes(
        scores.scores[first],
        scores.scores[second],
        scores.labels,
        variants=(scores.variants[first], scores.variants[second]),
        class_names=names or numbered_names(scores.scores.shape[2]),
    )


def _environment(result: EvaluationResult) -> dict[str, Any]:
    return {
        'commit': commit_of(),
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'num_videos': len(result.labels),
        'classes': result.class_list,
        'num_listed': result.num_listed,
        'decoded_by': dict(result.decoded_by),
        'resumed': result.resumed,
        **({'part': result.part} if result.part else {}),
        'views_per_video': result.views,
        'precision': result.precision,
        'hardware': result.hardware,
        'wall_s': result.wall_s,
        'wait_share': result.wait_share,
        'versions': versions(),
    }


def versions() -> dict[str, str | None]:
    """Of what numbers depend on; None for what is not installed."""
    own = {'sta': __version__, 'python': platform.python_version()}
    return {**own, **{name: distribution_version(name) for name in LIBRARIES}}


def versions_text(facts: Mapping[str, Any]) -> str:
    """'sta 1.0, python 3.11, ...' of facts that hold versions."""
    return ', '.join(f'{k} {v}' for k, v in facts['versions'].items() if v is not None)


def _markdown(found: Evaluation) -> str:
    """The table of the screen for GitHub, its footer, and how it was made."""
    facts = found.facts
    lines = [*found.table.markdown(), '', found.note, '']
    lines += [
        f'Config `{facts["config"]}`, checkpoint `{facts["checkpoint"] or "none"}`,',
        f'{facts["time_utc"]}; commit {facts.get("commit") or "unknown"}; {versions_text(facts)}.',
    ]
    if facts['annotations']:
        digest = facts['fingerprint'].get('videos', 'unknown')
        lines.append(
            f'Data: {facts["num_videos"]} of {facts["num_listed"]} videos of '
            f'`{facts["annotations"]}`, fingerprint {digest}.'
        )
    return '\n'.join([*lines, '', '```', facts['command'], '```']) + '\n'


def _left_out_lines(found: Evaluation, most: int = 10) -> list[str]:
    """The first videos that were left out and why, a line each; nothing where none was."""
    videos = found.left_out
    if not videos:
        return []
    lines = [f'left out, since they cannot be decoded: {counted(len(videos), "video")}']
    lines += [f'  {video.name}: {video.reason}' for video in videos[:most]]
    more = len(videos) - most
    return lines + ([f'  ... and {more} more, see left_out.csv'] if more > 0 else [])


def _not_finite_lines(found: Evaluation, most: int = 10) -> list[str]:
    """The first videos whose scores are not finite, a line each; nothing where all are."""
    videos = found.not_finite
    if not videos:
        return []
    precision, number = found.facts['precision'], counted(len(videos), 'video')
    lines = [f'scores not finite in {precision}, counted as wrong: {number}']
    lines += [f'  {video.name}: {", ".join(video.variants)}' for video in videos[:most]]
    more = len(videos) - most
    return lines + ([f'  ... and {more} more, see results.json'] if more > 0 else [])


def _checked_scores(folder: Path) -> Scores:
    """Scores of a folder.

    Raises:
        DataError: no scores.npz in it, or one that is damaged or not ours.
    """
    path = folder / SCORES
    if not path.is_file():
        raise DataError(f'{folder} holds no {SCORES}: give a folder that tools/test.py wrote')
    try:
        scores = read_scores(path)
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged files
        raise DataError(f'{path} cannot be read: {error or type(error).__name__}') from None
    if fault := _fault(scores):
        raise DataError(f'{path} is damaged or not from tools/test.py: {fault}')
    return scores._replace(labels=scores.labels.astype(np.int64))


def _fault(found: Scores) -> str | None:
    """What keeps the arrays from being the scores of an evaluation."""
    scores, labels, variants = found.scores, found.labels, found.variants
    if scores.ndim != 3 or scores.dtype.kind != 'f':
        return f'scores are {scores.dtype} of shape {scores.shape}, not floats of three axes'
    if labels.dtype.kind not in 'iu' or labels.shape != scores.shape[1:2]:
        return f'labels are {labels.dtype} of shape {labels.shape}, scores of {scores.shape}'
    if len(variants) != len(scores) or not all(isinstance(name, str) for name in variants):
        return f'{len(variants)} names of variants for scores of {len(scores)}'
    if len(set(variants)) < len(variants):
        return f'two variants of one name among {", ".join(variants)}'
    if 0 in scores.shape:
        return f'there is nothing in scores of shape {scores.shape}'
    if labels.min() < 0 or labels.max() >= scores.shape[2]:
        span = f'{labels.min()} to {labels.max()}'
        return f'labels from {span}, scores of {scores.shape[2]} classes'
    return None


def _row(found: dict[str, Any]) -> SummaryRow:
    """A row; JSON has no NaN, which a speed that nobody measured is.

    Raises:
        ValueError: another number is not one.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(SummaryRow):
        has_default = field.default is not dataclasses.MISSING  # for what older versions lack
        value = found.get(field.name, field.default) if has_default else found[field.name]
        if value is None and field.name == 'clips_per_s':
            value = float('nan')
        elif field.type == 'float' and not _is_number(value):
            raise ValueError(f'{field.name} of {found.get("name")} is {value!r}, not a number')
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return SummaryRow(**values)


def _is_number(value: Any) -> bool:
    """Whether a value out of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _no_number(constant: str) -> Any:
    """For json.loads, which takes NaN and Infinity though JSON has neither."""
    raise ValueError(f'it holds {constant}, which is no number of JSON')


def _note(result: EvaluationResult, rows: Sequence[SummaryRow]) -> str:
    """What a reader must know to use the numbers, in a few short sentences.

    Args:
        result: what was found.
        rows: its summary, see :func:`sta.evaluation.summarise`.
    """
    return (
        f'{_videos(result)} x {counted(result.views, "view")}{_part(result)}.{_decoders(result)} '
        f'{not_finite_note(rows)}{GFLOP_NOTE} {_against(rows)} {unpaired(rows)}'
        f'{_spreads(rows)}{_averages(rows)} clips/s: views per second of the model alone, '
        f'decoding apart. '
        f'{result.precision} on {result.hardware}; {_duration(result)}.'
    )


def _against(rows: Sequence[SummaryRow]) -> str:
    """What savings and changes are against, and how sure a change is."""
    if all(row.top1_change is None for row in rows):
        return (
            'saved: GFLOPs against no pruning, which was counted and not evaluated: with 0 among '
            'the schedules changes in top-1 are shown, too.'
        )
    paired = (
        f'too few videos, they need {FEWEST_VIDEOS}'
        if has_too_few(rows[0])
        else 'paired bootstrap and exact McNemar test over the same videos'
    )
    return (
        f'saved and change: GFLOPs and top-1 (in points) against no pruning; 95 % interval and p: '
        f'{paired}.'
    )


def unpaired(rows: Sequence[SummaryRow]) -> str:
    """How little one accuracy alone says; of no pruning, or else of the first variant.

    Where all videos are right, or none, the binomial standard error is 0, which is not how sure the
    accuracy is: the 95 % upper end of what was never seen in n videos is about 3 / n (Hanley and
    Lippman-Hand, JAMA 249, 1983).
    """
    row = next((row for row in rows if not row.pruner), rows[0])
    videos = counted(row.num_videos, 'video')
    if has_too_few(row):
        return f'Unpaired, one top-1 of {videos}: too few for a standard error.'
    if row.top1_percent in (0.0, 100.0):
        which = 'all right' if row.top1_percent else 'all wrong'
        return (
            f'Unpaired, one top-1 of {videos}, {which}, may be off by 3 / n = '
            f'{300 / row.num_videos:.2f} points: without pairing a smaller change means nothing.'
        )
    error = float(standard_error(row.top1_percent, row.num_videos))
    return (
        f'Unpaired, one top-1 of {videos} has a standard error of {error:.2f} points: without the '
        f'pairing a smaller change means nothing.'
    )


def _spreads(rows: Sequence[SummaryRow]) -> str:
    """How far draws lie apart, where rows are means over several."""
    means = [row for row in rows if row.averages]
    if not means:
        return ''
    if has_too_few(means[0]):
        return f' Means over seeds; standard deviation of their top-1: {TOO_FEW} videos.'
    spreads = ', '.join(f'{row.pruner}-{row.label} {row.top1_spread:.2f}' for row in means)
    return f' Means over seeds; standard deviation of their top-1 in points: {spreads}.'


def _averages(rows: Sequence[SummaryRow]) -> str:
    """Whose cost depends on the clips."""
    families = sorted({row.pruner for row in rows if row.cost_is_average})
    if not families:
        return ''
    return f' GFLOPs of {", ".join(families)} depend on the clip: means over the evaluated views.'


def _videos(result: EvaluationResult) -> str:
    """How many videos the figures are of; of how many, where some could not be decoded."""
    if not result.left_out:
        return counted(len(result.labels), 'video')
    return f'{len(result.labels)} of {counted(result.num_listed, "video")}'


def _part(result: EvaluationResult) -> str:
    return f' ({result.part})' if result.part else ''


def _decoders(result: EvaluationResult) -> str:
    """Which decoder showed how many videos, where it was not PyAV by the packets alone."""
    if set(result.decoded_by) <= {'pyav'}:
        return ''
    counts = sorted(result.decoded_by.items(), key=lambda item: -item[1])
    return f' Decoded by {", ".join(f"{name}: {number}" for name, number in counts)}.'


def _duration(result: EvaluationResult) -> str:
    waiting = 'n/a' if not math.isfinite(result.wait_share) else f'{100 * result.wait_share:.0f} %'
    new = result.num_listed - result.resumed
    if new == 0:
        return 'scores of an earlier session'
    of_what = f'for the last {counted(new, "video")}' if result.resumed else 'in all'
    return f'{result.wall_s:.0f} s {of_what}, {waiting} of it waiting for decoding'
