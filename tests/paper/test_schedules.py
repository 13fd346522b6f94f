"""The paper's schedules, worked by hand for ViT-L: 24 blocks, 8 frames of 196 tokens."""

from __future__ import annotations

import pytest

from sta.errors import ScheduleError
from sta.paper import build_tables
from sta.paper.experiment import Experiment, variant_of
from sta.paper.schedules import after_blocks, in_order, per_frame, stages_of, with_stages
from sta.paper.settings import setting_of, sta

VIT_L = setting_of('ViT-L', 'k400')


def places(experiment: Experiment) -> list[tuple[int, int, int, bool]]:
    return [
        (s.after_block, s.num_chunks, s.num_drop, s.backward) for s in stages_of(experiment).stages
    ]


@pytest.mark.parametrize(
    ('drops', 'expected', 'left'),
    [
        ([48, 48, 48], [(0, 8, 48, False), (8, 4, 96, True), (16, 2, 192, False)], 416),
        ([64, 32, 16], [(0, 8, 64, False), (8, 4, 64, True), (16, 2, 64, False)], 672),
        ([27, 54, 108], [(0, 8, 27, False), (8, 4, 108, True), (16, 2, 432, False)], 56),
    ],
)
def test_drops_per_frame(drops: list[int], expected: list, left: int) -> None:
    experiment = per_frame(VIT_L, drops, 'x')
    assert places(experiment) == expected
    assert stages_of(experiment).tokens_after_stages(1568)[-1] == left


def test_the_decreasing_schedule_is_plain_sta_64_and_shares_its_run() -> None:
    assert per_frame(VIT_L, [64, 32, 16], 'decreasing') == sta(VIT_L, 64)
    assert in_order(VIT_L, 64, 'FBF', 'F-B-F') == sta(VIT_L, 64)
    assert with_stages(VIT_L, 64, 3, '3 stages') == sta(VIT_L, 64)
    assert after_blocks(VIT_L, 64, [1, 9, 17], 'after 1,9,17') == sta(VIT_L, 64)


def test_directions() -> None:
    assert [p[3] for p in places(in_order(VIT_L, 64, 'BFB', 'B-F-B'))] == [True, False, True]
    assert [p[3] for p in places(in_order(VIT_L, 64, 'FFF', 'F-F-F'))] == [False] * 3
    assert [p[3] for p in places(in_order(VIT_L, 64, 'BBB', 'B-B-B'))] == [True] * 3


def test_numbers_and_places_of_stages() -> None:
    assert places(with_stages(VIT_L, 74, 2, 'x')) == [(0, 8, 74, False), (12, 4, 74, True)]
    assert places(with_stages(VIT_L, 60, 4, 'x')) == [
        (0, 8, 60, False),
        (6, 4, 60, True),
        (12, 2, 60, False),
        (18, 1, 60, True),
    ]
    assert [p[0] for p in places(after_blocks(VIT_L, 64, [3, 11, 19], 'x'))] == [2, 10, 18]
    assert [p[0] for p in places(after_blocks(VIT_L, 64, [5, 13, 21], 'x'))] == [4, 12, 20]


def test_a_schedule_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ScheduleError, match='at most 195'):
        per_frame(VIT_L, [196, 0, 0], 'x')
    with pytest.raises(ScheduleError, match='the last block of this model is 23'):
        after_blocks(VIT_L, 64, [5, 13, 25], 'x')


def test_every_variant_of_a_setting_has_a_name_of_its_own() -> None:
    named: dict[tuple, set[Experiment]] = {}
    for table in build_tables(['all']):
        for cell in table.cells():
            if cell.experiment:
                key = cell.experiment.setting, variant_of(cell.experiment).name
                named.setdefault(key, set()).add(cell.experiment)
    assert all(len(experiments) == 1 for experiments in named.values())
    names = sorted(name for setting, name in named if setting == VIT_L)
    assert names == [
        'random-16',
        'random-32',
        'random-48',
        'random-64',
        'random-80',
        'random-96',
        'semantic-64',
        'sta-16',
        'sta-2 stages',
        'sta-32',
        'sta-4 stages',
        'sta-48',
        'sta-64',
        'sta-80',
        'sta-96',
        'sta-B-B-B',
        'sta-B-F-B',
        'sta-F-F-F',
        'sta-after 3,11,19',
        'sta-after 5,13,21',
        'sta-constant',
        'sta-increasing',
        'sta[first_frame=grid]-64',
        'sta[first_frame=random]-64',
        'sta[similarity=ffn]-64',
        'sta[similarity=query]-64',
        'sta[similarity=value]-64',
        'temporal-64',
        'unpruned',
    ]
