"""Which videos of an evaluation, and which variant, are shown as examples."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from torch import nn

from sta.evaluation import EvaluationResult, VariantResult
from sta.pruning import Variant


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


def choose_variant(result: EvaluationResult, backbone: nn.Module) -> VariantResult | None:
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


def _evenly(places: Sequence[int], number: int) -> list[int]:
    """The middles of ``number`` equal parts of a list."""
    return [int(places[len(places) * (2 * i + 1) // (2 * number)]) for i in range(number)]


def _drops(found: VariantResult) -> bool:
    return not found.cost.drops_nothing


def _merges(backbone: nn.Module, variant: Variant) -> bool:
    with backbone.using(variant):
        return bool(backbone.pruner.merges)
