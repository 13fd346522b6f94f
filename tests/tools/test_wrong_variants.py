"""Schedules and pruners that cannot be used end the evaluation with one clear line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .tiny import Tiny

Refused = Callable[..., str]
UNKNOWN_STAGES = "[{'after_blok': 0, 'num_chunks': 8, 'num_drop': 2}]"
THREE_CHUNKS = "[{'after_block': 0, 'num_chunks': 3, 'num_drop': 2}]"
BLOCK_9 = "[{'after_block': 9, 'num_chunks': 8, 'num_drop': 2}]"


SCHEDULES = [
    pytest.param(['64'], ('64', '16 tokens per chunk', 'at most 15'), id='too big'),
    pytest.param(['2', '16'], ('16 of 16', 'at most 15'), id='just too big'),
    pytest.param(['-4'], ('-4', 'at least 0'), id='negative'),
    pytest.param(['abc'], ("'abc'", 'whole number'), id='no number'),
    pytest.param(['1.5'], ("'1.5'", 'whole number'), id='fraction'),
    pytest.param(['2', '2'], ('sta-2', 'twice'), id='duplicate'),
    pytest.param(['2,2,2,2'], ('4 stages', '3 blocks'), id='more stages than blocks'),
    pytest.param([THREE_CHUNKS], ('stage 1', '[1, 2, 4, 8]', 'got 3'), id='not dividing'),
    pytest.param([UNKNOWN_STAGES], ('stage 1', "'after_blok'", "'after_block'"), id='misspelt'),
    pytest.param([BLOCK_9], ('stage 1', '9', '2'), id='no such block'),
    pytest.param(["['a']"], ("'a'", 'whole number'), id='list of text'),
]


@pytest.mark.parametrize(('schedules', 'said'), SCHEDULES)
def test_a_schedule_that_does_not_fit(
    refused: Refused, tiny: Tiny, schedules: list[str], said: tuple[str, ...]
) -> None:
    refused('test', tiny.one_view, tiny.checkpoint, '--schedules', *schedules, said=said)


@pytest.mark.parametrize('tool', ['count_flops', 'benchmark'])
def test_a_schedule_that_does_not_fit_in_the_other_tools(
    refused: Refused, tiny: Tiny, tool: str
) -> None:
    refused(tool, tiny.one_view, '--schedules', '64', said=('64', 'at most 15'))


def test_chunks_that_do_not_divide_the_frames(refused: Refused, tiny: Tiny) -> None:
    arguments = ('--schedules', '2', '--cfg-options', 'model.backbone.num_frames=12')
    said = ('groups 4 temporal tokens', 'has 6', 'multiple of 4')
    refused('test', tiny.one_view, tiny.checkpoint, *arguments, said=said)


@pytest.mark.xfail(strict=True, reason='argparse takes it for a flag: expected one argument')
def test_negative_drops_per_stage_are_named(refused: Refused, tiny: Tiny) -> None:
    refused('test', tiny.one_view, '--schedules', '-2,0,0', said=('-2', 'at least 0'))


PRUNERS = [
    pytest.param('stab', ("'stab'", 'random, rlt, semantic, sta, temporal, tome'), id='unknown'),
    pytest.param('sta:score', ("'score'", 'key=value'), id='no value'),
    pytest.param('sta:first_frame=grid', ('square number', 'got 3', '1 and 4'), id='grid'),
    pytest.param('sta:scroe=temporal', ("'scroe'", "'score'"), id='misspelt setting'),
    pytest.param('sta:score=best', ("'best'", "'product'"), id='unknown value'),
    pytest.param('random:seed=x', ('seed', "'x'"), id='seed'),
]


@pytest.mark.parametrize(('pruner', 'said'), PRUNERS)
def test_a_pruner_that_cannot_be(
    refused: Refused, tiny: Tiny, pruner: str, said: tuple[str, ...]
) -> None:
    arguments = (tiny.one_view, tiny.checkpoint, '--schedules', '3', '--pruners', pruner)
    refused('test', *arguments, said=said)


@pytest.mark.parametrize('tool', ['count_flops', 'benchmark'])
@pytest.mark.parametrize(
    ('pruner', 'said'),
    [
        ('stab', ("'stab'", 'tube-random')),
        ('sta:scroe=1', ("'scroe'",)),
    ],
)
def test_a_pruner_that_cannot_be_in_the_other_tools(
    refused: Refused, tiny: Tiny, tool: str, pruner: str, said: tuple[str, ...]
) -> None:
    flag = '--pruner' if tool == 'benchmark' else '--pruners'
    refused(tool, tiny.one_view, '--schedules', '0', '2', flag, pruner, said=said)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--seeds', '0', '--pruners', 'random'), ('--seeds must be at least 1', 'got 0')),
        (('--seeds', '3', '--pruners', 'sta', 'tome'), ('pruners that draw', 'sta, tome')),
        (('--seeds', '2', '--pruners', 'sta:scroe=1'), ("'scroe'",)),
    ],
)
def test_seeds_that_cannot_be(
    refused: Refused, tiny: Tiny, arguments: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused('test', tiny.one_view, tiny.checkpoint, *arguments, said=said)


@pytest.mark.parametrize('tool', ['test', 'count_flops'])
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--budget', '1.5'), ('sta: ', 'between 0 and 1', '1.5')),
        (('--budget', '0.8', '0'), ('between 0 and 1', 'got 0')),
        (('--budget', '0.05', '--pruners', 'random'), ('random: budget 0.05', 'at least 0.')),
        (('--budget', '0.8', '--pruners', 'sta:scroe=1'), ("'scroe'",)),
    ],
)
def test_a_budget_that_cannot_be_met(
    refused: Refused, tiny: Tiny, tool: str, arguments: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(tool, tiny.one_view, *arguments, said=said)


@pytest.mark.parametrize('tool', ['test', 'count_flops'])
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--budget', 'half'), ('--budget', "'half'")),
        (('--budget', '0.5', '--schedules', '2'), ('--schedules', 'not allowed with', '--budget')),
        (('--budget',), ('--budget', 'at least one')),
    ],
)
def test_budgets_that_are_none(
    misused: Callable[..., None],
    tiny: Tiny,
    tool: str,
    arguments: tuple[str, ...],
    said: tuple[str, ...],
) -> None:
    misused(tool, tiny.one_view, *arguments, said=said)
