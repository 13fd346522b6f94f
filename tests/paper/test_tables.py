"""The paper's tables: the published numbers, and what is measured beside each of them.

Schedules are worked by hand for ViT-L: 24 blocks, 8 frames of 196 tokens.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sta.errors import ScheduleError
from sta.paper import build_tables, read_published
from sta.paper.experiment import (
    Experiment,
    after_blocks,
    in_order,
    parse_name,
    per_frame,
    setting_of,
    sta,
    stages_of,
    variant_of,
    with_stages,
)
from sta.paper.tables import smoke_table

VIT_L = setting_of('ViT-L', 'k400')
SPEC = Path(__file__).resolve().parents[2] / '../shared/spec/paper_tables.json'


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
        for experiment in table.experiments():
            key = experiment.setting, variant_of(experiment).name
            named.setdefault(key, set()).add(experiment)
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


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('STA320-VideoSwin-B', ('VideoSwin-B', 320)),
        ('STA64-ViT-H', ('ViT-H', 64)),
        ('ViT-B', ('ViT-B', 0)),
        ('ToMe-ViT-L', None),
        ('STTS-VideoSwin-B', None),
        ('Swin-L', None),
        ('ViViT', None),
        ('MViTv2-L', None),
    ],
)
def test_names_of_the_comparisons(name: str, expected: tuple | None) -> None:
    assert parse_name(name) == expected


def test_they_are_those_of_the_list() -> None:
    if not SPEC.exists():
        pytest.skip(f'no list of published numbers at {SPEC}')
    listed = json.loads(SPEC.read_text())
    ours = json.loads(json.dumps(read_published()))
    # The list has the baseline in words only.
    baseline = ours['table6_ablations'].pop('baseline')
    assert baseline == {'acc': [85.05, 96.55], 'clips_per_s': 19.5}
    assert '85.05/96.55 at 19.5 clips/s' in listed['table6_ablations']['what']
    assert ours == listed


def test_a_few_by_hand() -> None:
    found = read_published()
    vit_l = found['table2_vit']['rows'][2]
    assert (vit_l['model'], vit_l['gflops'], vit_l['k400_top1'][1]) == (
        'ViT-L',
        [597, 446, 376, 308],
        85.2,
    )
    assert found['table3_videoswin']['rows'][2]['ssv2_gflops'] == [321, 241, 215, 188]
    assert found['table6_ablations']['schedule']['increasing']['acc'] == [77.68, 93.72]
    assert found['supp_table2_views']['rows']['16x3'] == [84.91, 84.97, 84.89, 84.48]


def test_tables_that_print_the_same_thing_agree() -> None:
    found = read_published()
    table2 = {row['model']: row for row in found['table2_vit']['rows']}
    for model, top1 in zip(*(found['table6_ablations']['score'][k] for k in ('models', 'product'))):
        assert round(top1, 1) == table2[model]['k400_top1'][3]
    for row in found['table4_k400']['rows']:
        if row['model'] == 'STA64-ViT-H':
            assert (row['gflops'], row['top1']) == (611, table2['ViT-H']['k400_top1'][3])


def test_every_published_number_appears_in_a_cell() -> None:
    """Counted by hand from the lists: rows x columns of every table."""
    expected = {
        'table1': 4 * 3,
        'table2': 16 * 2 + 8,
        'table3': 12 * 2 + 4 * 2,
        'table4': 11 * 2,
        'table5': 8 * 2,
        'table6a': 4 * 2,
        'table6b': 5 * 2,
        'table6c': 5 * 2,
        'table6d': 4 * 3,
        'table6e': 3 * 3,
        'fig5': 7 * 3 - 1,
        'supp1': 2 * 3,
        'supp2': 5 * 4,
        'supp3': 6 * 2,
    }
    found = {
        table.name: sum(record.published is not None for record in table.records)
        for table in build_tables(['all'])
    }
    assert found == expected


def test_a_smoke_table_shows_nothing_that_was_published() -> None:
    for table in build_tables(['all']):
        smoke = smoke_table(table)
        assert smoke.title.startswith('SMOKE, not the paper')
        assert all(record.published is None for record in smoke.records)
        assert len(list(smoke.experiments())) == len(list(table.experiments()))
        # Models of others, of which there is nothing to run, are left out.
        assert set(smoke.rows) == {record.row for record in table.records if record.experiment}


def test_variants_of_a_smoke_setting_have_names_of_their_own() -> None:
    tables = build_tables(['all'])
    experiments = {e for table in tables for e in smoke_table(table).experiments()}
    assert len({(e.setting, variant_of(e).name) for e in experiments}) == len(experiments)


def test_tables_share_one_setting() -> None:
    tables = [smoke_table(table) for table in build_tables(['table2', 'table6a'])]
    experiments = [e for table in tables for e in table.experiments()]
    assert len({e.setting for e in experiments if e.setting.dataset == 'k400'}) == 1
