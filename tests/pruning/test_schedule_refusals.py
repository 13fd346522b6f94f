"""Schedules that are refused, and what the messages say."""

from __future__ import annotations

import re

import pytest

from sta.pruning import PruningSchedule, ScheduleError

VIT_B = {'depth': 12, 'num_frames_tokens': 8, 'tokens_per_frame': 196}


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
