"""The published numbers: against the list they were typed from, and a few by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sta.paper import read_published

SPEC = Path(__file__).resolve().parents[2] / '../shared/spec/paper_tables.json'


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
