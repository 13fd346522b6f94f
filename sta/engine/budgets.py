"""Budgets as typed on a command line: for every pruner the schedules that meet them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config

from sta.analysis import gflops_of_tokens, solve_budgets, solve_thresholds
from sta.datasets.video_list import BrokenVideo
from sta.errors import BudgetError, DataError, ScheduleError, VariantError
from sta.pruning import tubelet_changes
from sta.pruning.variants import own_amount, pruner_name

from .clips import normalised
from .session import build_model_of_shapes, explained


def meet_budgets(
    config: Config,
    pruners: Sequence[Mapping[str, Any]],
    shares: Sequence[float],
    changes: Callable[[Config, Any], np.ndarray] | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Give every pruner the schedules that cost nearest to each budget, and not more.

    Args:
        config: with a model; costs are those of the clips it was built for.
        pruners: settings.
        shares: of the unpruned GFLOPs.
        changes: looks at clips for pruners whose cost depends on them, see
            :func:`sta.engine.budgets.changes_of_clips`; None refuses those.

    Returns:
        The pruners with schedules (or thresholds) of their own, and a line on each for people.

    Raises:
        BudgetError: a budget that a pruner cannot meet; names it.
        ScheduleError: a pruner that this model refuses.
    """
    if not isinstance(pruners, list | tuple) or not all(isinstance(p, Mapping) for p in pruners):
        raise VariantError(f'pruners must be a list of dict(type=..., ...), got {pruners!r}')
    model = build_model_of_shapes(config)
    found, lines = [], []
    for pruner in pruners:
        name = pruner_name(pruner, model.backbone.pruner_defaults)
        settings = {k: value for k, value in pruner.items() if k not in ('name', 'schedules')}
        if amount := own_amount(pruner):
            thresholds, said = _thresholds(config, model, shares, changes, name)
            # Two budgets may be met by one threshold.
            found += [{**pruner, amount: value} for value in dict.fromkeys(thresholds)]
            lines += said
            continue
        try:
            solutions = solve_budgets(model, settings, shares, model.backbone.clip_shape)
        except (BudgetError, ScheduleError) as error:
            raise type(error)(f'{name}: {error}') from None
        for share, solution in zip(shares, solutions, strict=True):
            lines.append(
                f'budget {share:g} = {solution.budget_gflops:.4g} GFLOPs per view: {name} drops '
                f'{as_typed(solution.schedule)}, {solution.gflops_per_view:.4g} GFLOPs'
            )
        # Two budgets may be met by one schedule.
        schedules = {as_typed(s.schedule): s.schedule for s in solutions}
        found.append({**pruner, 'schedules': list(schedules.values())})
    return found, lines


def as_typed(schedule: int | Sequence[int]) -> str:
    """A schedule as --schedules takes it: 64, or 24,6,1."""
    return str(schedule) if isinstance(schedule, int) else ','.join(map(str, schedule))


def _thresholds(
    config: Config,
    model: Any,
    shares: Sequence[float],
    changes: Callable[[Config, Any], np.ndarray] | None,
    name: str,
) -> tuple[list[float], list[str]]:
    if changes is None:
        raise BudgetError(
            f'{name}: what it costs depends on the clips; tools/test.py --budget looks at some of '
            f'the test set'
        )
    shape = model.backbone.clip_shape
    frames, rows, columns = model.backbone.token_grid(shape)
    try:
        gflops = gflops_of_tokens(model, shape)
        found = changes(config, model.backbone)
        solved = solve_thresholds(gflops, found, rows * columns, shares)
    except (BudgetError, ScheduleError) as error:
        raise type(error)(f'{name}: {error}') from None
    lines = [
        f'budget {share:g} = {s.budget_gflops:.4g} GFLOPs per view: {name} has threshold '
        f'{s.value:g}, {s.gflops_per_view:.4g} GFLOPs on average over {len(found)} views of the '
        f'test set (no labels used)'
        for share, s in zip(shares, solved, strict=True)
    ]
    return [s.value for s in solved], lines


MOST_VIDEOS = 64


def changes_of_clips(config: Config, backbone: Any) -> np.ndarray:
    """How much the tubelets of a fixed random sample of the test videos change.

    Args:
        config: with model and test_dataloader.
        backbone: says how clips become tokens; its weights are not used.

    Returns:
        (clips, M) float32, see :func:`sta.pruning.tubelet_changes`.

    Raises:
        ConfigError, DataError: the data set cannot be built, or none of its videos decoded.
    """
    settings: dict[str, Any] = {**config.test_dataloader.dataset}
    settings['max_videos'] = min(settings.get('max_videos') or MOST_VIDEOS, MOST_VIDEOS)
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        dataset = DATASETS.build(settings)
        preprocessor = MODELS.build(config.model.data_preprocessor)
    found = []
    for index in range(len(dataset)):
        sample = dataset[index]
        if isinstance(sample, BrokenVideo):
            continue
        clip = normalised(sample, preprocessor)
        grid = backbone.token_grid(tuple(clip.shape[1:]))
        found.append(tubelet_changes(clip, grid).flatten(1).numpy())
    if not found:
        raise DataError(f'none of {len(dataset)} videos can be decoded to choose a threshold on')
    return np.concatenate(found)
