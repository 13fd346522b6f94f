"""A summary row for every variant: cost, accuracy, and how sure its change is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .results import EvaluationResult, VariantResult
from .statistics import FEWEST_VIDEOS, PairedChange, paired_change, top_k_correct


@dataclass(frozen=True)
class SummaryRow:
    """One line of the table; per cent where the name says so, None where undefined.

    Attributes:
        name: variant, e.g. 'sta-64', or 'random-64 (3 seeds)' for a mean over seeds.
        pruner: family for plots, e.g. 'sta'; '' for no pruning.
        tokens_kept: tokens per clip that reach the head.
        tokens_after_stages: tokens per clip after each stage.
        gflops_per_view: 1e9 multiply-accumulates per view.
        gflops_per_video: the same times the views of a video.
        reduction_percent: GFLOPs saved against no pruning.
        top1_percent: top-1 accuracy.
        top5_percent: top-5 accuracy.
        top1_change: top-1 minus that of no pruning, in points.
        clips_per_s: views per second of the model alone.
        label: what the schedule is called, e.g. '64'.
        top1_change_low: lower end of the paired 95 % bootstrap interval of the change.
        top1_change_high: its upper end.
        p_value: exact McNemar test of the change; None for a mean over seeds.
        averages: names of the rows this one is the mean of, a draw each; empty for one variant.
        top1_spread: standard deviation of top-1 over these, in points.
        cost_is_average: whether tokens and GFLOPs depend on the clips and are means over them.
        num_videos: behind the accuracy; 0 where an older file does not say. Of fewer than
            FEWEST_VIDEOS intervals, p and spread are None.
        not_finite: how many of these have scores that are not finite, and count as wrong; in a mean
            over seeds under any of the draws.
    """

    name: str
    pruner: str
    tokens_kept: int
    tokens_after_stages: tuple[int, ...]
    gflops_per_view: float
    gflops_per_video: float
    reduction_percent: float | None
    top1_percent: float
    top5_percent: float
    top1_change: float | None
    clips_per_s: float
    label: str = ''
    top1_change_low: float | None = None
    top1_change_high: float | None = None
    p_value: float | None = None
    averages: tuple[str, ...] = ()
    top1_spread: float | None = None
    cost_is_average: bool = False
    num_videos: int = 0
    not_finite: int = 0


def summarise(result: EvaluationResult) -> list[SummaryRow]:
    """One row per variant, and before those that differ in nothing but the seed their mean.

    Changes are against the variant that drops nothing, if it was run; savings are against its cost
    in any case, since that needs no data.
    """
    correct = [top_k_correct(v.scores, result.labels, 1) for v in result.variants]
    full = next((i for i, v in enumerate(result.variants) if v.cost.drops_nothing), None)
    changes: list[PairedChange | None] = [None] * len(correct)
    if full is not None:
        changes = [paired_change(correct[full], own) for own in correct]
    whole = result.unpruned_gflops
    if full is not None:
        whole = result.variants[full].cost.gflops_per_view
    rows = [_row(result, v, correct[i], changes[i], whole) for i, v in enumerate(result.variants)]
    summary = list(rows)
    for places in _same_but_for_the_seed(result.variants):
        draws = np.stack([correct[i] for i in places])
        change = None if full is None else paired_change(correct[full], draws)
        mean = _mean_row([rows[i] for i in places], change)
        failed = np.any([result.variants[i].not_finite for i in places], axis=0)
        mean = dataclasses.replace(mean, not_finite=int(failed.sum()))
        summary.insert(summary.index(rows[places[0]]), mean)
    return summary


def shown_rows(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """What tables and plots show: means over seeds in place of what they are the means of."""
    averaged = {name for row in rows for name in row.averages}
    return [row for row in rows if row.name not in averaged]


def _row(
    result: EvaluationResult,
    found: VariantResult,
    correct: np.ndarray,
    change: PairedChange | None,
    whole: float | None,
) -> SummaryRow:
    gflops = found.cost.gflops_per_view
    return SummaryRow(
        name=found.variant.name,
        pruner=found.variant.family,
        tokens_kept=found.cost.tokens_kept,
        tokens_after_stages=found.cost.tokens_after_stages,
        gflops_per_view=gflops,
        gflops_per_video=gflops * result.views,
        reduction_percent=None if whole is None else 100.0 * (1.0 - gflops / whole),
        top1_percent=100.0 * correct.mean(),
        top5_percent=100.0 * top_k_correct(found.scores, result.labels, 5).mean(),
        clips_per_s=found.clips_per_s,
        label=found.variant.label,
        cost_is_average=found.cost.is_average,
        num_videos=len(correct),
        not_finite=int(found.not_finite.sum()),
        **_change_fields(change),
    )


def _mean_row(rows: Sequence[SummaryRow], change: PairedChange | None) -> SummaryRow:
    first = rows[0]
    top1 = [row.top1_percent for row in rows]
    return dataclasses.replace(
        first,
        name=f'{first.pruner}-{first.label} ({len(rows)} seeds)',
        top1_percent=float(np.mean(top1)),
        top5_percent=float(np.mean([row.top5_percent for row in rows])),
        clips_per_s=float(np.mean([row.clips_per_s for row in rows])),
        averages=tuple(row.name for row in rows),
        top1_spread=float(np.std(top1, ddof=1)) if first.num_videos >= FEWEST_VIDEOS else None,
        **_change_fields(change),
    )


def _change_fields(change: PairedChange | None) -> dict[str, Any]:
    names = ('top1_change', 'top1_change_low', 'top1_change_high', 'p_value')
    return dict(zip(names, change or (None,) * len(names), strict=True))


def _same_but_for_the_seed(variants: Sequence[VariantResult]) -> list[list[int]]:
    """Places of variants that are draws of one pruner at one schedule, two or more together."""
    groups: dict[str, dict[Any, int]] = {}
    for i, found in enumerate(variants):
        settings = dict(found.variant.pruner or {})
        seed = settings.pop('seed', 0)  # what every pruner that draws begins with
        key = (sorted(settings.items()), found.variant.family, found.variant.label)
        groups.setdefault(repr(key), {}).setdefault(seed, i)
    return [list(places.values()) for places in groups.values() if len(places) > 1]
