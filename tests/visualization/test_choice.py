"""Which videos and which variant are shown: by rule, not by taste."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sta.evaluation import VariantResult
from sta.pruning import Variant
from sta.visualization.examples import choose_variant, choose_videos, unpruned_of
from tests.models.small_vit import small_vit
from tests.report.example import cost, result


@pytest.mark.parametrize(
    ('changed', 'number', 'places'),
    [
        ((2, 3, 7, 8, 9), 4, [3, 8, 1, 5]),  # the second and the fourth of either five
        ((2, 3, 7, 8, 9), 3, [3, 8, 4]),
        ((2, 3, 7, 8, 9), 1, [7]),
        ((2, 3, 7, 8, 9), 0, []),
        ((), 4, [1, 3, 6, 8]),  # none changed: all of the other kind
        ((5,), 4, [5, 1, 4, 8]),
        (tuple(range(10)), 2, [2, 7]),  # all changed
        (tuple(range(9)), 4, [1, 4, 7, 9]),
        ((0, 1), 99, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_videos_worked_by_hand(changed, number, places) -> None:
    before = np.zeros(10, int)
    after = before.copy()
    after[list(changed)] = 3
    assert choose_videos(before, after, number) == places


def renamed(found: VariantResult, pruner: str, family: str) -> VariantResult:
    settings = {'type': pruner}
    variant = Variant(f'{family}-4', settings, 4, family, '4')
    return dataclasses.replace(found, variant=variant)


def test_the_strongest_variant_of_the_first_pruner_that_drops_in_place() -> None:
    backbone, found = small_vit(schedule=4), result(drops=(32, 64))
    whole, first, second = found.variants[0], *found.variants[1:3]
    merging = renamed(second, 'ToMeMergePruner', 'tome')
    weak, strong = renamed(first, 'STAPruner', 'sta'), renamed(second, 'STAPruner', 'sta')
    other = dataclasses.replace(renamed(second, 'RandomPruner', 'random'), cost=cost(80))

    def chosen(*variants: VariantResult) -> VariantResult | None:
        return choose_variant(dataclasses.replace(found, variants=variants), backbone)

    assert chosen(merging, whole, weak, strong, other) is strong
    assert chosen(other, weak) is other
    assert chosen(whole, merging) is None and chosen(whole) is None
    assert unpruned_of(found) is whole
    assert unpruned_of(result(unpruned=False)) is None
