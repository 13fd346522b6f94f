"""From stored scores to a result: the same for one process, for several, and for shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sta.datasets.errors import DataError

from .accuracy import all_finite
from .conditions import Conditions
from .results import Cost, EvaluationResult, LeftOut, VariantResult
from .stored import Stored, StoredVideo, StoreError


def assemble(
    stored: Stored,
    conditions: Conditions,
    *,
    wall_s: float,
    wait_share: float,
    resumed: int = 0,
    part: str = '',
) -> EvaluationResult:
    """The result over all stored videos, in the order of the list.

    Args:
        stored: scores of every video, and what became of the others.
        conditions: under which they were made.
        wall_s, wait_share, resumed, part: see :class:`EvaluationResult`.

    Raises:
        DataError: not one video can be used.
        StoreError: a video has scores that are not finite, and nobody said that it counts as wrong.
    """
    videos = [stored.videos[place] for place in sorted(stored.videos)]
    sound = [video for video in videos if video.scores is not None]
    broken = [video for video in videos if video.scores is None]
    if not sound:
        raise DataError(
            f'none of the {len(broken)} videos can be used; the first is {broken[0].name}: '
            f'{broken[0].reason}'
            if broken
            else 'no video was evaluated yet'
        )
    check_finite(sound, conditions)
    scores = np.stack([video.scores for video in sound])
    costs = averaged_costs(conditions.costs, sound)
    clips_per_s = stored.clips / stored.model_s
    return EvaluationResult(
        variants=tuple(
            VariantResult(variant, costs[i], scores[:, i], float(clips_per_s[i]))
            for i, variant in enumerate(conditions.variants)
        ),
        labels=np.array([video.label for video in sound]),
        names=tuple(video.name for video in sound),
        views=stored.views,
        hardware=conditions.hardware,
        precision=conditions.precision,
        wall_s=wall_s,
        wait_share=wait_share,
        left_out=tuple(LeftOut(video.name, video.label, video.reason) for video in broken),
        decoded_by=dict(Counter(video.decoder for video in sound)),
        class_list=conditions.class_list,
        resumed=resumed,
        part=part,
        unpruned_gflops=conditions.unpruned_gflops,
    )


def check_finite(videos: Sequence[StoredVideo], conditions: Conditions) -> None:
    """Refuse what versions stored that did not look; what counts as wrong on purpose says so.

    Raises:
        StoreError: names the first video, the variants and the precision.
    """
    failed = [video for video in videos if not video.reason and not video.is_finite]
    if failed:
        finite = all_finite(failed[0].scores)
        names = [v.name for v, good in zip(conditions.variants, finite, strict=True) if not good]
        raise StoreError(
            f'stored scores of {failed[0].name} under {", ".join(names)} in '
            f'{conditions.precision} are not finite'
            + (f', and those of {len(failed) - 1} more videos' if len(failed) > 1 else '')
            + '; an older version stored them: evaluate them again with tools/test.py'
        )


def averaged_costs(costs: Sequence[Cost], videos: Sequence[StoredVideo]) -> list[Cost]:
    """Put averages over the videos in place of the costs that depend on them.

    Args:
        costs: one per variant.
        videos: that were scored.
    """
    if videos[0].costs is None:
        return list(costs)
    means = np.stack([video.costs for video in videos]).mean(0)
    return [
        cost
        if np.isnan(gflops)
        else replace(
            cost,
            tokens_after_stages=(round(tokens),),
            gflops_per_view=float(gflops),
            is_average=True,
        )
        for cost, (tokens, gflops) in zip(costs, means, strict=True)
    ]
