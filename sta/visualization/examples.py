"""Videos of an evaluation with what every stage kept of them, as small pictures for a page."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from PIL import Image

from sta.datasets.video_list import BrokenVideo
from sta.engine.clips import View, read_views
from sta.evaluation import EvaluationResult, VariantResult
from sta.models.prunable import PrunableBackbone, PrunableRecognizer
from sta.pruning import Variant

from .maps import Row, input_row, kept_rows, record, resized
from .sheet import shown_frames

SIDE, GAP, MOST_COLUMNS = 112, 4, 8
QUALITY = 80
MOST_BYTES = 2_000_000  # of all pictures together; a page holds a third more for the same


class Strip(NamedTuple):
    """One row of an example: frames, or what is left of them.

    Attributes:
        label: what it shows.
        alt: for those who do not see it.
        width, height: in pixels.
        image: WebP.
    """

    label: str
    alt: str
    width: int
    height: int
    image: bytes


class Example(NamedTuple):
    """A video of the evaluation.

    Attributes:
        name: file name.
        caption: class, predictions and view.
        strips: the frames, then what each stage left.
    """

    name: str
    caption: str
    strips: tuple[Strip, ...]


class Examples(NamedTuple):
    """Several, and how they were chosen or why there are none.

    Attributes:
        shown: the videos.
        note: a sentence or two.
    """

    shown: tuple[Example, ...]
    note: str


def make_examples(
    config: Config,
    model: PrunableRecognizer,
    result: EvaluationResult,
    *,
    names: Sequence[str],
    number: int,
    most_s: float = float('inf'),
) -> Examples:
    """Decode a few videos again and record what each stage keeps of their middle view.

    Args:
        config: of the evaluation.
        model: a recognizer with a backbone of ours, in evaluation mode; runs in float32.
        result: what was found.
        names: of the classes.
        number: of videos.
        most_s: no further video is begun after so many seconds.

    Raises:
        ConfigError, DataError: the test pipeline gives no clips that can be shown.
        ScheduleError, ValueError, RuntimeError: the model cannot run one of the clips.
    """
    chosen = choose_variant(result, model.backbone)
    if chosen is None:
        return Examples((), 'No example clips: no variant drops tokens that have a place.')
    whole = unpruned_of(result)
    after = chosen.scores.argmax(1)
    before = after if whole is None else whole.scores.argmax(1)
    places = choose_videos(before, after, number)
    start, shown, lacking = time.monotonic(), [], []
    for view, place in zip(
        read_views(config, model, [result.names[place] for place in places]), places, strict=True
    ):
        if isinstance(view, BrokenVideo):
            lacking.append(f'{Path(view.filename).name} could not be decoded again: {view.reason}')
            continue
        caption = _caption(result, place, chosen.variant.name, names, view.note)
        shown.append(example_of(model, view, chosen.variant, caption))
        num_bytes = sum(len(strip.image) for example in shown for strip in example.strips)
        if num_bytes > MOST_BYTES:
            shown.pop()
            lacking.append(f'more than {len(shown)} would make the page too large')
            break
        if time.monotonic() - start > most_s and len(shown) < len(places):
            lacking.append(f'more than {len(shown)} would take too long; --examples N insists')
            break
    return Examples(tuple(shown), ' '.join([_how(result, before, after, chosen.variant), *lacking]))


def example_of(model: PrunableRecognizer, view: View, variant: Variant, caption: str) -> Example:
    """A view's frames, and under them what each stage of a variant left."""
    with model.backbone.using(variant):
        stages = record(model, view.clip).stages
    grid = stages[0].grid
    # Pixels beyond the last whole patch belong to no token of a ViT.
    height, width = (grid.size[i] * grid.cell[i] for i in (1, 2))
    frames = view.frames[:, :height, :width]
    columns = shown_frames(len(frames), grid.cell[0], MOST_COLUMNS)
    first, *rest = [input_row(frames), *kept_rows(frames, stages)]
    name = Path(view.name).name
    strips = [_strip(first, columns, f'frames: the first of {grid.cell[0]} that share tokens', '')]
    for row in rest:
        tokens, share = row.notes
        label = f'{row.title}: {tokens}, {share}'
        strips.append(_strip(row, columns, label, ', the patches of dropped tokens white'))
    strips[0] = strips[0]._replace(alt=f'{len(columns)} frames of {name} as the model sees them')
    return Example(name, caption, tuple(strips))


def _strip(row: Row, columns: Sequence[int], label: str, explained: str) -> Strip:
    panels = [resized(row.panels[column], SIDE) for column in columns]
    height, width = panels[0].shape[:2]
    total = len(panels) * (width + GAP) - GAP
    canvas = np.zeros((height, total, 4), np.uint8)  # what is between the panels is transparent
    for number, panel in enumerate(panels):
        left = number * (width + GAP)
        canvas[:, left : left + width, :3] = panel
        canvas[:, left : left + width, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format='webp', quality=QUALITY, method=4)
    return Strip(label, f'{label}{explained}', total, height, buffer.getvalue())


def _caption(
    result: EvaluationResult, place: int, variant: str, names: Sequence[str], view: str
) -> str:
    """'Class a. Prediction changed. unpruned: a 98.1 % (right); sta-16: b 60.2 % (wrong).'"""
    label = int(result.labels[place])
    said: list[str] = []
    predicted: set[int | None] = set()
    for found in result.variants:
        if found.cost.drops_nothing or found.variant.name == variant:
            if found.not_finite[place]:
                said.append(f'{found.variant.name}: scores not finite (wrong)')
                predicted.add(None)
                continue
            best = int(found.scores[place].argmax())
            verdict = 'right' if best == label else 'wrong'
            percent = 100.0 * float(found.scores[place, best])
            predicted.add(best)
            said.append(f'{found.variant.name}: {names[best]} {percent:.1f} % ({verdict})')
    shown = f' Shown is {view}.' if view else ''
    change = ['', 'Prediction unchanged. ', 'Prediction changed. ']
    kind = len(predicted) if len(said) > 1 else 0
    return f'Class {names[label]}. {change[kind]}{"; ".join(said)}.{shown}'


def _how(result: EvaluationResult, before: np.ndarray, after: np.ndarray, variant: Variant) -> str:
    if unpruned_of(result) is None:
        return f'What {variant.name} keeps, of videos at even distances along the list.'
    changed = int((before != after).sum())
    return (
        f'What {variant.name} keeps. It changes the prediction of {changed} of {len(before)} '
        f'videos; shown are some of these, then some of the others, each at even distances along '
        f'the list.'
    )


def choose_videos(before: np.ndarray, after: np.ndarray, number: int) -> list[int]:
    """Places of videos whose prediction changed, then of as many where it did not.

    Either kind is taken at even distances along the list, so that nobody picks the nice ones; where
    one kind has too few, the other one fills up.

    Args:
        before: (videos,) predicted classes without pruning.
        after: (videos,) predicted classes with pruning.
        number: of videos; all where there are fewer.
    """
    changed, same = np.flatnonzero(before != after), np.flatnonzero(before == after)
    num_changed = min(len(changed), max(ceil(number / 2), number - len(same)))
    num_same = min(len(same), number - num_changed)
    return _evenly(changed, num_changed) + _evenly(same, num_same)


def choose_variant(result: EvaluationResult, backbone: PrunableBackbone) -> VariantResult | None:
    """Of the first pruner that drops tokens in place, the variant that keeps fewest.

    A merged token has no place in a picture, so pruners that merge are passed over.

    Args:
        result: the evaluation.
        backbone: that it was of.

    Returns:
        None where no variant can be shown.
    """
    shown = [v for v in result.variants if _drops(v) and not _merges(backbone, v.variant)]
    own = [v for v in shown if v.variant.family == shown[0].variant.family]
    return min(own, key=lambda v: v.cost.tokens_kept, default=None)


def unpruned_of(result: EvaluationResult) -> VariantResult | None:
    """The variant that drops nothing, if it was run."""
    return next((v for v in result.variants if v.cost.drops_nothing), None)


def _evenly(places: np.ndarray, number: int) -> list[int]:
    """The middles of ``number`` equal parts of a list."""
    return [int(places[len(places) * (2 * i + 1) // (2 * number)]) for i in range(number)]


def _drops(found: VariantResult) -> bool:
    return not found.cost.drops_nothing


def _merges(backbone: PrunableBackbone, variant: Variant) -> bool:
    with backbone.using(variant):
        return bool(backbone.pruner.merges)
