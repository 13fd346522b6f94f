"""Where stages sit and how many tokens they leave."""

from __future__ import annotations

import dataclasses

import pytest

from sta.pruning import PruningSchedule, PruningStage, ScheduleError

VIT_B = {'depth': 12, 'num_frames_tokens': 8, 'tokens_per_frame': 196}
VIT_L = {**VIT_B, 'depth': 24}


def rows(schedule: PruningSchedule) -> list[tuple[int, int, int, bool]]:
    return [dataclasses.astuple(stage) for stage in schedule.stages]


@pytest.mark.parametrize(
    'depth, places',
    [(12, [0, 4, 8]), (24, [0, 8, 16]), (32, [0, 10, 21]), (6, [0, 2, 4]), (3, [0, 1, 2])],
)
def test_the_paper_schedule_of_each_depth(depth, places) -> None:
    schedule = PruningSchedule.from_drop(64, depth=depth, num_frames_tokens=8)
    assert rows(schedule) == [
        (places[0], 8, 64, False),
        (places[1], 4, 64, True),
        (places[2], 2, 64, False),
    ]


@pytest.mark.parametrize('num_drop', [1, 16, 32, 48, 64, 80, 96])
def test_token_counts_of_the_paper_schedule(num_drop) -> None:
    schedule = PruningSchedule.from_drop(num_drop, **VIT_B)
    left = [1568 - 8 * num_drop, 1568 - 12 * num_drop, 1568 - 14 * num_drop]
    assert schedule.tokens_after_stages(1568) == left


@pytest.mark.parametrize('spec', [None, 0, [0, 0, 0], PruningSchedule()])
def test_nothing_dropped(spec) -> None:
    schedule = PruningSchedule.parse(spec, **VIT_B)
    assert set(schedule.tokens_after_stages(1568)) <= {1568}
    assert sum(stage.num_drop for stage in schedule.stages) == 0


@pytest.mark.parametrize('num_frames_tokens', [4, 8, 16, 32])
def test_chunks_follow_the_number_of_frames(num_frames_tokens) -> None:
    schedule = PruningSchedule.from_drop(5, depth=12, num_frames_tokens=num_frames_tokens)
    chunks = [stage.num_chunks for stage in schedule.stages]
    assert chunks == [num_frames_tokens, num_frames_tokens // 2, num_frames_tokens // 4]


@pytest.mark.parametrize(
    'num_stages, directions, expected',
    [
        (2, 'FB', [(0, 8, False), (12, 4, True)]),
        (3, 'BFB', [(0, 8, True), (8, 4, False), (16, 2, True)]),
        (3, 'FFF', [(0, 8, False), (8, 4, False), (16, 2, False)]),
        (3, 'BBB', [(0, 8, True), (8, 4, True), (16, 2, True)]),
        (4, 'FBFB', [(0, 8, False), (6, 4, True), (12, 2, False), (18, 1, True)]),
    ],
)
def test_other_numbers_of_stages_and_directions(num_stages, directions, expected) -> None:
    schedule = PruningSchedule.from_drop(16, num_stages=num_stages, directions=directions, **VIT_L)
    found = [(stage.after_block, stage.num_chunks, stage.backward) for stage in schedule.stages]
    assert found == expected


@pytest.mark.parametrize(
    'per_frame, per_chunk',
    [
        ([48, 48, 48], [48, 96, 192]),
        ([64, 32, 16], [64, 64, 64]),
        ([27, 54, 108], [27, 108, 432]),
    ],
)
def test_drops_per_frame_of_the_paper(per_frame, per_chunk) -> None:
    """Chunks of 1, 2 and 4 frames; each stage loses 8 times its drop per frame."""
    schedule = PruningSchedule.from_drops(per_chunk, **VIT_L)
    left, expected = 1568, []
    for drop in per_frame:
        left -= 8 * drop
        expected.append(left)
    assert schedule.tokens_after_stages(1568) == expected
    assert schedule == PruningSchedule.parse(per_chunk, **VIT_L)


def test_the_wording_of_the_paper() -> None:
    """r, r/2, r/4 per frame, each frame its own chunk throughout: the same totals."""
    schedule = PruningSchedule.paper_literal(64, **VIT_B)
    assert rows(schedule) == [(0, 8, 64, False), (4, 8, 32, True), (8, 8, 16, False)]
    same = PruningSchedule.from_drop(64, **VIT_B).tokens_after_stages(1568)
    assert schedule.tokens_after_stages(1568) == same


def test_the_wording_of_the_paper_needs_whole_numbers() -> None:
    with pytest.raises(ScheduleError, match='50.*multiple of 4'):
        PruningSchedule.paper_literal(50, **VIT_B)


@pytest.mark.parametrize('one_based', [(1, 9, 17), (3, 11, 19), (5, 13, 21)])
def test_stages_at_the_places_of_the_paper(one_based) -> None:
    spec = [
        {'after_block': block - 1, 'num_chunks': chunks, 'num_drop': 64, 'backward': chunks == 4}
        for block, chunks in zip(one_based, (8, 4, 2))
    ]
    schedule = PruningSchedule.parse(spec, **VIT_L)
    first, second, third = (block - 1 for block in one_based)
    assert rows(schedule) == [(first, 8, 64, False), (second, 4, 64, True), (third, 2, 64, False)]
    assert schedule.tokens_after_stages(1568) == [1056, 800, 672]


def test_every_way_of_saying_the_same() -> None:
    built = PruningSchedule.from_drop(32, **VIT_B)
    dicts = [dataclasses.asdict(stage) for stage in built.stages]
    for spec in (32, [32, 32, 32], (32, 32, 32), dicts, built):
        assert PruningSchedule.parse(spec, **VIT_B) == built
    assert PruningSchedule(stages=tuple(PruningStage(**row) for row in dicts)) == built
    assert hash(PruningSchedule.parse(32, **VIT_B)) == hash(built)


def test_backward_may_be_left_out() -> None:
    spec = [{'after_block': 3, 'num_chunks': 8, 'num_drop': 5}]
    assert PruningSchedule.parse(spec, **VIT_B).stages == (PruningStage(3, 8, 5, False),)


def test_parsing_leaves_its_input_alone() -> None:
    spec = [{'after_block': 3, 'num_chunks': 8, 'num_drop': 5, 'backward': True}]
    PruningSchedule.parse(spec, **VIT_B)
    assert spec == [{'after_block': 3, 'num_chunks': 8, 'num_drop': 5, 'backward': True}]


def test_schedules_are_frozen() -> None:
    schedule = PruningSchedule.from_drop(32, **VIT_B)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.stages = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.stages[0].num_drop = 3
