"""One video through a model: every row that can be shown of it, and what is to be said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sta.analysis.gradients import grad_norm
from sta.engine.clips import View
from sta.engine.scoring import not_finite_text
from sta.errors import ConfigError, MemoryShortError, NotFiniteError, ScheduleError, VariantError
from sta.models.prunable import PrunableBackbone, PrunableRecognizer
from sta.pruning import PruningSchedule, Variant

from .maps import Row, input_row, kept_rows, record, score_rows, value_row


class Explanation(NamedTuple):
    """What is shown of a video.

    Attributes:
        rows: frames; after every stage; importance, redundancy and score of one stage, where the
            pruner computes them; GradNorm.
        last: place among the rows of what the last stage left.
        title: lines above.
        tubelet: frames that share their tokens.
    """

    rows: list[Row]
    last: int
    title: tuple[str, ...]
    tubelet: int


def check_variant(backbone: PrunableBackbone, variant: Variant) -> PruningSchedule:
    """The schedule of a variant that can be shown on a grid.

    Raises:
        VariantError: its pruner merges tokens, and drops none of them, or drops at the input.
        ScheduleError: the model cannot hold it.
    """
    with backbone.using(variant):
        if backbone.pruner.at_input:
            raise VariantError(
                f'{variant.name} drops at the input, before there are stages whose tokens could be '
                f'shown'
            )
        if backbone.schedule.active and backbone.pruner.merges:
            raise VariantError(
                f'{variant.name} merges tokens and drops none: a merged token has no place in the '
                f'picture; show sta, random or tube-random'
            )
        return backbone.schedule


def check_stage(schedule: PruningSchedule, asked: int | None) -> int:
    """Number (from 1) of the stage whose scores are shown; by default the first that drops.

    Raises:
        VariantError: there is no such stage, or it drops nothing.
    """
    dropping = [i + 1 for i, stage in enumerate(schedule.stages) if stage.num_drop]
    if asked is None:
        return dropping[0] if dropping else 0
    if asked not in dropping:
        raise VariantError(f'--stage must be one that drops tokens, {dropping}, got {asked}')
    return asked


def explain(
    model: PrunableRecognizer,
    view: View,
    variant: Variant,
    *,
    stage: int,
    names: Sequence[str],
    label: int | None = None,
) -> Explanation:
    """Run a view with pruning, and without for GradNorm.

    GradNorm is that of the model without pruning: it says which tokens the prediction rests on,
    whether or not they were dropped; under pruning it would be high where tokens were kept.

    Args:
        model: a recognizer with a backbone of ours, in evaluation mode.
        view: one clip.
        variant: see :func:`check_variant`.
        stage: see :func:`check_stage`; 0 shows no scores.
        names: of the classes.
        label: the class of GradNorm's loss; default the predicted one.

    Raises:
        ConfigError, ScheduleError: the views do not suit the model or the schedule.
        MemoryShortError: the GPU cannot hold the gradients.
        NotFiniteError: logits or gradients are NaN or infinite.
    """
    backbone = model.backbone
    labels = None if label is None else torch.tensor([label])
    try:
        with backbone.using(Variant('unpruned', None, None)):
            gradient = grad_norm(model, view.clip, labels)
        with backbone.using(variant):
            recording = record(model, view.clip)
            score = getattr(backbone.pruner, 'score', '')
    except ScheduleError:
        raise
    except torch.cuda.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise MemoryShortError(f'the gradients of one clip do not fit: {reason}') from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'the test pipeline does not suit the model: {reason}') from error
    guesses = [('unpruned', gradient.logits[0].cpu()), (variant.name, recording.logits)]
    failed = [name for name, logits in guesses if not logits.isfinite().all()]
    if failed:
        raise NotFiniteError(f'{view.name}: {not_finite_text(failed, "fp32")}')
    if not gradient.map.isfinite().all():
        raise NotFiniteError(f'{view.name}: gradients in fp32 are not finite (NaN or infinity)')
    grid = gradient.grid
    # Pixels beyond the last whole patch belong to no token of a ViT.
    height, width = (grid.size[i] * grid.cell[i] for i in (1, 2))
    frames = view.frames[:, :height, :width]
    shape = frames.shape[:3]
    rows = [input_row(frames), *kept_rows(frames, recording.stages)]
    last = len(rows) - 1
    if stage:
        rows += score_rows(recording.stages[stage - 1], shape, score=score)
    whose = 'predicted' if label is None else 'given'
    notes = ('nothing dropped', f'Eq. 7, {whose} class', 'square root scale')
    rows.append(value_row('GradNorm', notes, gradient.map[0].cpu().numpy(), grid, shape, root=True))
    title = _title(view, guesses if last else guesses[:1], names)
    return Explanation(rows, last, title, grid.cell[0])


def _title(
    view: View, guesses: Sequence[tuple[str, Tensor]], names: Sequence[str]
) -> tuple[str, ...]:
    said = []
    for name, logits in guesses:
        best = int(logits.argmax())
        said.append(f'{name}: {names[best]} {100 * float(logits.softmax(-1)[best]):.1f} %')
    first = f'{Path(view.name).name}{", " if view.note else ""}{view.note}'
    return first, '; '.join(said)
