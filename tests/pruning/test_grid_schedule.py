"""Schedules of backbones whose grid is merged: the paper's r1, lists, dicts and refusals."""

from __future__ import annotations

import pytest

from sta.pruning import (
    PruningSchedule,
    PruningStage,
    ScheduleError,
    fit_to_grids,
    parse_grid_schedule,
)

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
