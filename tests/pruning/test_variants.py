"""From configs and command lines to variants: names, order, what counts as no pruning."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sta.errors import VariantError
from sta.models import STASwinTransformer3D, STAVisionTransformer
from sta.pruning import (
    Variant,
    chosen_variants,
    expand_variants,
    parse_pruner_text,
    parse_schedule_text,
    with_seeds,
)
from sta.pruning.variants import pruner_name

ROOT = Path(__file__).parents[2]
STA = {'type': 'STAPruner'}
RANDOM = {'type': 'RandomPruner'}
STAGES = [
    {'after_block': 0, 'num_chunks': 8, 'num_drop': 2},
    {'after_block': 2, 'num_chunks': 1, 'num_drop': 5, 'backward': True},
]
ZERO_STAGES = [{'after_block': 0, 'num_chunks': 8, 'num_drop': 0}]


def names(schedules: list, *pruners: dict) -> list[str]:
    return [variant.name for variant in expand_variants(schedules, pruners or [STA])]


def test_every_pruner_at_every_schedule_and_no_pruning_once_and_first() -> None:
    assert expand_variants([4, 0, [1, 2, 4]], [STA, RANDOM]) == [
        Variant('unpruned', None, None, ''),
        Variant('sta-4', STA, 4, 'sta', '4'),
        Variant('sta-1,2,4', STA, [1, 2, 4], 'sta', '1,2,4'),
        Variant('random-4', RANDOM, 4, 'random', '4'),
        Variant('random-1,2,4', RANDOM, [1, 2, 4], 'random', '1,2,4'),
    ]


def test_a_pruner_may_have_schedules_of_its_own() -> None:
    score = {'type': 'STAPruner', 'score': 'temporal', 'schedules': [4]}
    assert expand_variants([0, 2], [STA, score, {**RANDOM, 'schedules': [0, 6]}]) == [
        Variant('unpruned', None, None, ''),
        Variant('sta-2', STA, 2, 'sta', '2'),
        Variant('temporal-4', {**STA, 'score': 'temporal'}, 4, 'temporal', '4'),
        Variant('random-6', RANDOM, 6, 'random', '6'),
    ]


def test_schedules_for_all_are_not_needed_where_every_pruner_has_its_own() -> None:
    own = {'schedules': [3]}
    assert names(None, {**STA, **own}, {**RANDOM, **own}) == ['sta-3', 'random-3']
    with pytest.raises(VariantError, match='schedules must be a list with at least one'):
        names(None, {**STA, **own}, RANDOM)
    with pytest.raises(VariantError, match='schedules must be a list with at least one'):
        names([1], {**STA, 'schedules': []})


@pytest.mark.parametrize('nothing', [0, None, [0], [0, 0, 0], (0, 0), ZERO_STAGES], ids=repr)
def test_dropping_nothing_has_one_name(nothing: Any) -> None:
    assert names([nothing, 3]) == ['unpruned', 'sta-3']
    assert names([0, nothing]) == ['unpruned']


def test_without_zero_there_is_no_unpruned_variant() -> None:
    assert names([2, 4]) == ['sta-2', 'sta-4']


@pytest.mark.parametrize('schedule', [[0, 2, 0], [*ZERO_STAGES, STAGES[1]]], ids=['ints', 'stages'])
def test_one_stage_that_drops_is_enough(schedule: list) -> None:
    assert 'unpruned' not in names([schedule])


def test_stages_are_kept_as_they_are_and_numbered_by_their_place() -> None:
    variants = expand_variants([2, STAGES], [STA])
    assert [v.name for v in variants] == ['sta-2', 'sta-schedule1']
    assert variants[1].schedule == STAGES


def test_schedules_and_pruners_can_be_named() -> None:
    schedule = {'name': 'late', 'schedule': STAGES}
    pruner = {'type': 'STAPruner', 'score': 'temporal', 'name': 'ours'}
    assert expand_variants([schedule], [pruner]) == [
        Variant('ours-late', {'type': 'STAPruner', 'score': 'temporal'}, STAGES, 'ours', 'late')
    ]


def test_the_name_of_the_first_pruner_does_not_reach_the_unpruned_model() -> None:
    variants = expand_variants([0, 2], [{'type': 'STAPruner', 'name': 'ours'}])
    assert [v.pruner for v in variants] == [None, {'type': 'STAPruner'}]


@pytest.mark.parametrize(
    ('pruner', 'name'),
    [
        (STA, 'sta'),
        ({'type': 'TubeRandomPruner'}, 'tube-random'),
        ({'type': 'ToMeMergePruner'}, 'tome'),
        ({'type': 'STAPruner', 'first_frame': 'tome', 'similarity': 'key'}, 'sta'),
        ({'type': 'STAPruner', 'score': 'product'}, 'sta'),
        ({'type': 'STAPruner', 'score': 'temporal'}, 'temporal'),
        ({'type': 'STAPruner', 'score': 'semantic'}, 'semantic'),
        ({'type': 'STAPruner', 'score': 'semantic', 'seed': 1}, 'semantic[seed=1]'),
        ({'type': 'STAPruner', 'score': 'temporal', 'first_frame': 'tome'}, 'temporal'),
        ({'type': 'STAPruner', 'affinity': 'cosine', 'previous': 'kept'}, 'sta[previous=kept]'),
        ({'type': 'STAPruner', 'first_frame': 'grid', 'seed': 3}, 'sta[first_frame=grid,seed=3]'),
        ({'type': 'RandomPruner', 'seed': 2}, 'random[seed=2]'),
        ({'type': 'MyPruner'}, 'MyPruner'),
        ({'type': 'MyPruner', 'name': 'mine'}, 'mine'),
        ({'type': 'MyPruner', 'name': 'mine', 'seed': 2}, 'mine[seed=2]'),
    ],
)
def test_a_pruner_is_named_after_what_is_not_default(pruner: dict, name: str) -> None:
    assert pruner_name(pruner) == name


@pytest.mark.parametrize(
    ('pruner', 'name'),
    [
        (STA, 'sta'),
        ({**STA, 'first_frame': 'tome'}, 'sta[first_frame=tome]'),
        ({**STA, 'first_frame': 'tome_rounds'}, 'sta'),
        ({**STA, 'first_frame': 'grid'}, 'sta[first_frame=grid]'),
        ({**STA, 'score': 'temporal', 'first_frame': 'tome'}, 'temporal[first_frame=tome]'),
        ({**STA, 'score': 'temporal', 'first_frame': 'tome_rounds'}, 'temporal'),
        (RANDOM, 'random'),
    ],
)
def test_on_videoswin_other_settings_are_the_default(pruner: dict, name: str) -> None:
    defaults = STASwinTransformer3D.pruner_defaults
    assert pruner_name(pruner, defaults) == name
    [variant] = expand_variants([4], [pruner], defaults)
    assert (variant.name, variant.family) == (f'{name}-4', name)


def test_both_first_frames_stand_side_by_side_on_both_backbones() -> None:
    both = [STA, {**STA, 'first_frame': 'tome'}]
    swin = expand_variants([4], both, STASwinTransformer3D.pruner_defaults)
    assert [variant.name for variant in swin] == ['sta-4', 'sta[first_frame=tome]-4']
    rounds = [STA, {**STA, 'first_frame': 'tome_rounds'}]
    vit = expand_variants([4], rounds, STAVisionTransformer.pruner_defaults)
    assert [variant.name for variant in vit] == ['sta-4', 'sta[first_frame=tome_rounds]-4']
    with pytest.raises(VariantError, match="'sta-4'.* appear twice"):
        expand_variants([4], both, STAVisionTransformer.pruner_defaults)


def test_two_seeds_are_two_variants() -> None:
    seeds = [{'type': 'RandomPruner', 'seed': seed} for seed in (0, 1)]
    assert len(set(names([2], *seeds))) == 2


@pytest.mark.parametrize(
    ('schedules', 'pruners', 'said'),
    [
        ([], [STA], 'schedules must be a list with at least one entry, got []'),
        ([2], [], 'pruners must be a list with at least one entry, got []'),
        (5, [STA], 'schedules must be a list with at least one entry, got 5'),
        ([2], ['sta'], "dict(type=..., ...), got ['sta']"),
        ([2, 2], [STA], "['sta-2']"),
        ([2, 3], [STA, STA], "['sta-2', 'sta-3']"),
        ([[2, 2], (2, 2)], [STA], "['sta-2,2']"),
        ([{'nmae': 'late', 'schedule': 2}], [STA], 'dict(name=, schedule=)'),
        ([{'schedule': 2}], [STA], 'dict(name=, schedule=)'),
    ],
)
def test_what_cannot_be_told_apart_is_refused(schedules: list, pruners: list, said: str) -> None:
    with pytest.raises(VariantError) as refusal:
        expand_variants(schedules, pruners)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ('text', 'schedule'),
    [
        ('64', 64),
        ('0', 0),
        (' 8 ', 8),
        ('None', None),
        ('none', None),
        ('48,96,192', [48, 96, 192]),
        ('[48, 96]', [48, 96]),
        ('(48, 96)', [48, 96]),
        ('4,', [4]),
        (repr(STAGES), STAGES),
        (json.dumps(STAGES), STAGES),
        ('[dict(after_block=0, num_chunks=8, num_drop=2)]', STAGES[:1]),
        ('dict(after_block=0, num_chunks=8, num_drop=2)', STAGES[:1]),
        ("dict(name='late', schedule=[4, 2])", {'name': 'late', 'schedule': [4, 2]}),
        ('-4', -4),  # understood; the model says what is wrong with it
    ],
)
def test_schedules_as_typed(text: str, schedule: Any) -> None:
    parsed = parse_schedule_text(text)
    assert parsed == schedule
    assert type(parsed) is type(schedule)


@pytest.mark.parametrize(
    'text',
    ['abc', '', '1.5', 'True', '4 8', '{1}', "{'a': 1}", "'64'", '4;8']
    + ['[dict(after_block=0), ...]', 'dict(**x)', '{**x}', '[dict(a=open("x"))]', 'int(4)']
    + ['[4, dict(a=1)]', '{[]: 1}', '[' * 9999],
)
def test_schedules_that_are_not_understood(text: str) -> None:
    with pytest.raises(VariantError, match='64') as refusal:
        parse_schedule_text(text)
    assert repr(text) in str(refusal.value)
    assert '48,96,192' in str(refusal.value)


@pytest.mark.parametrize(
    ('text', 'pruner'),
    [
        ('sta', STA),
        ('random', RANDOM),
        ('tube-random', {'type': 'TubeRandomPruner'}),
        ('tome', {'type': 'ToMeMergePruner'}),
        ('tome-drop', {'type': 'ToMeDropPruner'}),
        ('temporal', {'type': 'STAPruner', 'score': 'temporal'}),
        ('semantic', {'type': 'STAPruner', 'score': 'semantic'}),
        (
            'semantic:first_frame=grid',
            {'type': 'STAPruner', 'score': 'semantic', 'first_frame': 'grid'},
        ),
        ('STAPruner', STA),
        ('random:seed=3', {'type': 'RandomPruner', 'seed': 3}),
        ('random:seed=-3', {'type': 'RandomPruner', 'seed': -3}),
        (
            'sta:score=temporal,first_frame=grid',
            {'type': 'STAPruner', 'score': 'temporal', 'first_frame': 'grid'},
        ),
    ],
)
def test_pruners_as_typed(text: str, pruner: dict) -> None:
    assert parse_pruner_text(text) == pruner


def test_every_spelling_in_the_documents_is_understood() -> None:
    """Schedules and pruners of tables and commands, as they stand there."""
    texts = {path: path.read_text('utf-8') for path in [*ROOT.glob('*.md'), *ROOT.glob('*/*.md')]}
    page = texts[ROOT / 'docs/variants.md']
    tables = page.partition('## Schedules')[2].partition('## Pruners')[0]
    rows = [row.split('|') for row in tables.splitlines() if row.startswith('| `')]
    cells = {text for row in rows for text in re.findall('`([^`]+)`', row[1] + row[2])}
    assert len(cells) > 6
    words = {'--schedules': cells, '--schedule': set(), '--pruners': set(), '--pruner': set()}
    fences = '\n'.join(block for text in texts.values() for block in text.split('```')[1::2])
    # Square brackets that mark what may be left away are no part of a word; quoted ones are.
    for command in re.findall(r'tools/\w+.py(?:.*\\\n)*.*', fences):
        option = ''
        for word in re.findall(r'"[^"]*"|\'[^\']*\'|[^\s|)\[\]\\]+', command):
            if word.startswith('-'):
                option = word
            elif option in words and word not in ('...', 'C'):
                words[option].add(word.strip('"\''))
            else:
                option = ''
    assert all(words.values())
    for text in words['--schedules'] | words['--schedule']:
        parse_schedule_text(text)
    for text in words['--pruners'] | words['--pruner'] | {"dict(type='STAPruner', score='key')"}:
        parse_pruner_text(text)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('stab', "unknown pruner 'stab'; known are "),
        ('', 'unknown pruner'),
        ('STA', 'tube-random'),
        ('sta:score', "got 'score'"),
        ('sta:grid,score=product', "got 'grid'"),
        ("dict(type='STAPrunr')", 'expected dict(type=..., ...) with a type of RandomPruner, '),
        ("dict(type=eval('1'))", 'expected dict(type=..., ...)'),
    ],
)
def test_pruners_that_are_not_understood(text: str, said: str) -> None:
    with pytest.raises(VariantError) as refusal:
        parse_pruner_text(text)
    assert said in str(refusal.value)


def test_draws_with_several_seeds_are_one_family() -> None:
    seeded = with_seeds([STA, RANDOM, {'type': 'RandomPruner', 'name': 'mine'}], 2)
    assert seeded[0] == STA
    assert [(v.name, v.family, v.label) for v in expand_variants([4], seeded)] == [
        ('sta-4', 'sta', '4'),
        ('random[seed=0]-4', 'random', '4'),
        ('random[seed=1]-4', 'random', '4'),
        ('mine[seed=0]-4', 'mine', '4'),
        ('mine[seed=1]-4', 'mine', '4'),
    ]


def test_a_seed_that_is_given_stays() -> None:
    given = {'type': 'RandomPruner', 'seed': 7}
    assert with_seeds([given, {'type': 'STAPruner', 'first_frame': 'grid'}], 2) == [
        given,
        {'type': 'STAPruner', 'first_frame': 'grid', 'seed': 0},
        {'type': 'STAPruner', 'first_frame': 'grid', 'seed': 1},
    ]


@pytest.mark.parametrize(
    ('pruners', 'num_seeds', 'said'),
    [
        ([RANDOM], 0, '--seeds must be at least 1, got 0'),
        ([STA, {'type': 'ToMeMergePruner'}], 3, 'such as random; got sta, tome'),
    ],
)
def test_seeds_that_change_nothing_are_refused(pruners, num_seeds, said) -> None:
    with pytest.raises(VariantError) as refusal:
        with_seeds(pruners, num_seeds)
    assert said in str(refusal.value)


def test_what_is_typed_goes_before_the_config_and_that_before_the_defaults() -> None:
    def names(test_cfg, schedules=None, pruners=None) -> list[str]:
        found = chosen_variants(test_cfg, schedules=schedules, pruners=pruners)
        return [variant.name for variant in found]

    config = dict(schedules=[0, 8], pruners=[dict(type='RandomPruner')])
    assert names({}) == ['unpruned']
    assert names(config) == ['unpruned', 'random-8']
    assert names(config, ['4']) == ['random-4']
    assert names(config, None, ['sta', 'tome']) == ['unpruned', 'sta-8', 'tome-8']
    assert names({}, ['4,2'], None) == ['sta-4,2']


def test_a_pruner_that_says_itself_how_much_goes_makes_one_variant() -> None:
    rlt = {'type': 'RunLengthPruner'}
    assert expand_variants([0, 4, 8], [rlt, {**rlt, 'threshold': 0.25}]) == [
        Variant('unpruned', None, None, ''),
        Variant('rlt-0.1', rlt, None, 'rlt', '0.1'),
        Variant('rlt-0.25', {**rlt, 'threshold': 0.25}, None, 'rlt', '0.25'),
    ]
    named = [{**rlt, 'name': 'run lengths', 'threshold': t} for t in (0.2, 0.4)]
    assert names([4], *named) == ['run lengths-0.2', 'run lengths-0.4']
    with pytest.raises(VariantError, match="'rlt-0.1'.* appear twice"):
        expand_variants([0], [rlt, {**rlt, 'threshold': 0.1}])
    assert parse_pruner_text('rlt:threshold=0.25') == {**rlt, 'threshold': 0.25}
    assert parse_pruner_text('sta:seed=3,similarity=value')['seed'] == 3
