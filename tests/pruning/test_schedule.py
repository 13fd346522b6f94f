"""Where stages sit and how many tokens they leave."""

from __future__ import annotations

import dataclasses
import re

import pytest

from sta.errors import ScheduleError
from sta.pruning import PruningSchedule, PruningStage, fit_to_grids, parse_grid_schedule

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


def refusal(spec, **model) -> set[str]:
    """The words and numbers of the message with which a schedule is refused."""
    with pytest.raises(ScheduleError) as error:
        PruningSchedule.parse(spec, **{**VIT_B, **model})
    assert isinstance(error.value, ValueError)
    message = str(error.value)
    assert '\n' not in message and len(message) < 400
    return set(re.findall(r'[\w.-]*\w', message))


def stage_dict(**changed) -> dict:
    return {'after_block': 0, 'num_chunks': 8, 'num_drop': 8, **changed}


@pytest.mark.parametrize('num_drop', [196, 197, 10**6])
def test_a_first_stage_that_leaves_nothing(num_drop) -> None:
    assert {'stage', str(num_drop), '196'} <= refusal(num_drop)


def test_most_that_the_first_stage_can_drop() -> None:
    spec = [stage_dict(num_drop=195)]
    assert PruningSchedule.parse(spec, **VIT_B).tokens_after_stages(1568) == [8]


def test_a_second_stage_that_leaves_nothing() -> None:
    """100 of 196 stay in stage one; a chunk of two frames then holds 200."""
    assert PruningSchedule.parse([96, 199, 1], **VIT_B).tokens_after_stages(1568) == [800, 4, 2]
    assert {'stage', '200'} <= refusal([96, 200, 1])


def test_a_third_stage_that_leaves_nothing() -> None:
    """Of 4 * 196 tokens in a chunk of four frames 4 * 48 and 2 * 96 are gone: 400 are left."""
    assert PruningSchedule.parse([48, 96, 399], **VIT_B).tokens_after_stages(1568)[-1] == 2
    assert {'stage', '400'} <= refusal([48, 96, 400])


def test_the_refused_stage_is_named() -> None:
    """Whether counted from nought or from one, three bad stages have three different names."""
    specs = [[200, 1, 1], [1, 400, 1], [1, 1, 800]]
    messages = []
    for spec in specs:
        with pytest.raises(ScheduleError) as error:
            PruningSchedule.parse(spec, **VIT_B)
        messages.append(re.search(r'stage\s*(\d+)', str(error.value)))
    numbers = [int(found.group(1)) for found in messages]
    assert numbers in ([0, 1, 2], [1, 2, 3])


def test_drops_beyond_what_three_stages_hold() -> None:
    """r = 112 leaves 84, 28 and 0 tokens per frame: stage 3 would drop all of its chunks."""
    assert PruningSchedule.parse(111, **VIT_B).tokens_after_stages(1568) == [680, 236, 14]
    assert {'stage', '112'} <= refusal(112)


@pytest.mark.parametrize('value', [-1, True, False, 1.5, 64.0, float('nan'), '64', b'64', object()])
def test_a_drop_that_is_not_a_count(value) -> None:
    refusal([value, 1, 1])
    refusal([stage_dict(num_drop=value)])
    if not isinstance(value, (str, bytes)):
        refusal(value)


@pytest.mark.parametrize('value', ['64', 'none', '[1, 2]', {'num_drop': 3}, [[1]], [None], 3.0])
def test_a_spec_that_is_no_schedule(value) -> None:
    refusal(value)


@pytest.mark.parametrize('num_chunks', [0, -8, 3, 16 * 196, 2.0, '8', True])
def test_chunks_that_do_not_divide(num_chunks) -> None:
    refusal([stage_dict(num_chunks=num_chunks)])


@pytest.mark.parametrize('num_chunks', [3, 7, 14, 16, 49])
def test_chunks_are_whole_frames(num_chunks) -> None:
    """1568 tokens split evenly into 7, 14, 16 and 49 as well, but through the middle of frames."""
    words = refusal([stage_dict(num_chunks=num_chunks)])
    assert {'stage', str(num_chunks), '1', '2', '4', '8'} <= words


def test_later_chunks_are_whole_earlier_chunks() -> None:
    """After a stage of 4 chunks the tokens of two frames stand mixed, in kept order."""
    for second in (4, 2, 1):
        spec = [stage_dict(num_chunks=4), stage_dict(after_block=3, num_chunks=second)]
        left = [1568 - 32, 1568 - 32 - 8 * second]
        assert PruningSchedule.parse(spec, **VIT_B).tokens_after_stages(1568) == left
    words = refusal([stage_dict(num_chunks=4), stage_dict(after_block=3, num_chunks=8)])
    assert {'stage', '8', '4'} <= words


def test_more_stages_than_frames_can_be_halved() -> None:
    """8 frames can be halved thrice: 8, 4, 2, 1."""
    schedule = PruningSchedule.parse([1, 1, 1, 1], **VIT_B)
    assert [stage.num_chunks for stage in schedule.stages] == [8, 4, 2, 1]
    refusal([1, 1, 1, 1, 1])


def test_frames_that_cannot_be_halved() -> None:
    refusal(4, num_frames_tokens=6)
    refusal(4, num_frames_tokens=1)


@pytest.mark.parametrize('after_block', [12, 13, -1, 1.0, '3', True])
def test_a_block_that_is_not_there(after_block) -> None:
    assert 'stage' in refusal([stage_dict(after_block=after_block)])


def test_a_block_beyond_the_last_is_named_with_the_depth() -> None:
    words = refusal([stage_dict(after_block=12)])
    assert {'stage', '12', '11'} <= words


@pytest.mark.parametrize('places', [(4, 4), (4, 3)])
def test_blocks_must_increase(places) -> None:
    words = refusal([stage_dict(after_block=place) for place in places])
    assert {'blocks', *map(str, places)} <= words


def test_fewer_blocks_than_stages() -> None:
    refusal(4, depth=2)


def test_unknown_and_missing_keys_are_named() -> None:
    assert 'num_drops' in refusal([{'after_block': 0, 'num_chunks': 8, 'num_drops': 3}])
    assert {'direction', 'backward'} <= refusal([stage_dict(direction='B')])
    assert 'num_chunks' in refusal([{'after_block': 0, 'num_drop': 3}])


@pytest.mark.parametrize('backward', [1, 0, 'B', None])
def test_backward_is_true_or_false(backward) -> None:
    assert 'backward' in refusal([stage_dict(backward=backward)])


@pytest.mark.parametrize('directions', ['FXF', 'fbf', ''])
def test_unknown_directions(directions) -> None:
    with pytest.raises(ScheduleError, match='(?s)F.*B'):
        PruningSchedule.from_drop(4, directions=directions, **VIT_B)


def test_a_built_schedule_is_checked_against_another_model() -> None:
    schedule = PruningSchedule.from_drop(64, **VIT_B)
    schedule.validate(**VIT_B)
    for model in ({'depth': 8}, {'tokens_per_frame': 64}, {'num_frames_tokens': 4}):
        with pytest.raises(ScheduleError):
            schedule.validate(**{**VIT_B, **model})
        with pytest.raises(ScheduleError):
            PruningSchedule.parse(schedule, **{**VIT_B, **model})


BLOCKS = (1, 3, 21)
GRIDS = {1: (16, 28, 28), 3: (16, 14, 14), 21: (16, 7, 7)}


def stages(spec, blocks=BLOCKS) -> list[tuple]:
    return [
        (stage.after_block, stage.num_drop, stage.backward)
        for stage in parse_grid_schedule(spec, merged_blocks=blocks).stages
    ]


@pytest.mark.parametrize(
    'r1, drops', [(8, [8, 3, 1]), (192, [192, 72, 24]), (256, [256, 96, 32]), (384, [384, 144, 48])]
)
def test_the_papers_r1(r1, drops) -> None:
    """{r1, 1.5 r1 / 4, 2 r1 / 16}, forward, backward, forward."""
    expected = list(zip(BLOCKS, drops, (False, True, False), strict=True))
    assert stages(r1) == expected == stages(drops)


def test_nothing_is_dropped() -> None:
    assert stages(None) == stages(0) == []
    assert [drop for _, drop, _ in stages([0, 0, 0])] == [0, 0, 0]


def test_shallower_models_take_the_first_drops() -> None:
    assert stages(256, (1, 3)) == [(1, 256, False), (3, 96, True)]


def test_dicts_say_place_and_direction() -> None:
    spec = [dict(after_block=3, num_drop=20, backward=True), dict(after_block=21, num_drop=3)]
    assert stages(spec) == [(3, 20, True), (21, 3, False)]
    assert stages(parse_grid_schedule(spec, merged_blocks=BLOCKS)) == stages(spec)


def test_every_frame_becomes_a_chunk() -> None:
    fitted = fit_to_grids(parse_grid_schedule(256, merged_blocks=BLOCKS), GRIDS)
    assert fitted.stages == (
        PruningStage(1, 16, 256),
        PruningStage(3, 16, 96, backward=True),
        PruningStage(21, 16, 32),
    )


@pytest.mark.parametrize(
    'spec, words',
    [
        (100, 'multiple of 8.*100.*96 and 104'),
        (3, 'multiple of 8.*3.*0 and 8'),
        (392, '384.*392.*384'),
        (-8, 'at least 0.*-8'),
        (True, 'True'),
        ([24, 6], r'3 times.*\[24, 6\]'),
        ([24, 6, 1, 1], '3 times'),
        ([24, 6.5, 1], r'stage 2.*6\.5'),
        ([24, -1, 1], 'stage 2.*-1'),
        ([], r'\[\]'),
        ('256', "'256'"),
        ([dict(after_block=2, num_drop=5)], r'block 2.*\[1, 3, 21\]'),
        ([dict(after_block=1)], 'num_drop'),
        ([dict(after_block=1, num_drop=5, chunks=3)], 'chunks'),
    ],
    ids=str,
)
def test_refusals_say_what_would_be_right(spec, words) -> None:
    with pytest.raises(ScheduleError, match=f'(?s){words}'):
        parse_grid_schedule(spec, merged_blocks=BLOCKS)


@pytest.mark.parametrize(
    'spec, words',
    [
        ([784, 0, 0], 'stage 1.*784.*28 x 28 = 784.*783'),
        ([0, 0, 60], 'stage 3.*60.*49.*48'),
        ([dict(after_block=3, num_drop=5, num_chunks=8)], 'stage 1.*16.*8'),
    ],
    ids=str,
)
def test_what_does_not_fit_the_clip_is_refused(spec, words) -> None:
    with pytest.raises(ScheduleError, match=f'(?s){words}'):
        fit_to_grids(parse_grid_schedule(spec, merged_blocks=BLOCKS), GRIDS)


def test_a_backbone_without_merging_has_no_chunks_of_its_own() -> None:
    with pytest.raises(ScheduleError, match='num_chunks is missing'):
        PruningSchedule.parse(
            PruningSchedule((PruningStage(0, None, 4),)),
            depth=6,
            num_frames_tokens=8,
            tokens_per_frame=16,
        )
