"""The published costs, as the command line prints them."""

from __future__ import annotations

import re

import pytest

from .tiny import ROOT, run_tool

VIT_B = {'unpruned': 180.49, 'sta-32': 136.32, 'sta-48': 115.86, 'sta-64': 96.53}
LEFT = {'sta-32': [1312, 1184, 1120], 'sta-48': [1184, 992, 896], 'sta-64': [1056, 800, 672]}


def printed(capsys: pytest.CaptureFixture, *arguments: object) -> dict[str, list[str]]:
    """Cells of every row by the name of its variant; '' holds all of the text on one line."""
    capsys.readouterr()
    assert run_tool('count_flops', *arguments) == 0
    text = capsys.readouterr().out
    rows = (line.split() for line in text.splitlines())
    found = {row[0]: row[1:] for row in rows if row and re.match(r'(unpruned|[a-z-]+-\d)', row[0])}
    return {**found, '': ' '.join(text.split())}


def test_the_costs_of_vit_b_on_kinetics(capsys) -> None:
    found = printed(capsys, ROOT / 'configs' / 'sta_vit_k400.py')
    for name, gflops in VIT_B.items():
        before, *left, per_view, per_video, saved, params = found[name]
        assert before == '1568'
        assert [int(n) for n in left if n != '-'] == LEFT.get(name, [])
        assert float(per_view) == pytest.approx(gflops, rel=1e-3)
        assert float(per_video) == pytest.approx(15 * gflops, rel=1e-3)
        assert float(saved) == pytest.approx(100 * (1 - gflops / 180.49), abs=0.06)
        assert float(params) == pytest.approx(86.53, abs=0.01)
    assert '1 GFLOP = 1e9 multiply-accumulates' in found['']
    assert '15 views per video' in found['']


def test_ssv2_has_two_clips_and_three_crops(capsys) -> None:
    found = printed(capsys, ROOT / 'configs' / 'sta_vit_s_ssv2.py', '--schedules', '0')
    assert '6 views per video' in found['']
    per_view, per_video = map(float, found['unpruned'][2:4])
    assert per_video == pytest.approx(6 * per_view, rel=1e-3)


def test_flags_and_options_change_what_is_counted(capsys, tiny) -> None:
    arguments = ('--schedules', '3', '--pruners', 'random', 'tome')
    found = printed(capsys, tiny.one_view, *arguments)
    assert list(found) == ['random-3', 'tome-3', '']
    assert found['random-3'][:4] == ['128', '104', '92', '86']
    with_whole = printed(capsys, tiny.one_view, '--schedules', '0', *arguments[1:])
    assert found['random-3'] == with_whole['random-3']  # what is saved needs no 0
    deeper = printed(capsys, tiny.one_view, *arguments, '--cfg-options', 'model.backbone.depth=6')
    assert float(deeper['random-3'][-1]) > 1.5 * float(found['random-3'][-1])


def test_neither_data_nor_weights_are_touched(capsys, child) -> None:
    text = 'test_dataloader = dict(dataset=dict(ann_file="nowhere.txt"))'
    assert printed(capsys, child(text))['unpruned'][0] == '128'


def test_a_config_without_an_evaluation_is_counted_unpruned(capsys, tmp_path) -> None:
    model = (ROOT / 'configs' / '_base_' / 'models' / 'sta_vit.py').read_text()
    path = tmp_path / 'model.py'
    path.write_text(model.split('# One pass')[0])
    found = printed(capsys, path)
    assert list(found) == ['unpruned', '']
    assert float(found['unpruned'][2]) == pytest.approx(180.49, rel=1e-3)
    assert '1 view per video' in found['']


def test_budgets_are_met_and_the_parameter_is_printed(capsys, tiny) -> None:
    arguments = ('--budget', '0.8', '0.6', '--pruners', 'sta', 'random')
    found = printed(capsys, tiny.one_view, *arguments)
    lines = re.findall(
        r'budget (0\.\d) = \S+ GFLOPs per view: (sta|random) drops (\d+), (\S+) GFLOPs', found['']
    )
    assert [line[:2] for line in lines] == [
        ('0.8', 'sta'),
        ('0.6', 'sta'),
        ('0.8', 'random'),
        ('0.6', 'random'),
    ]
    assert 'unpruned' in found
    for share, name, drops, _ in lines:
        saved = float(found[f'{name}-{drops}'][-2])
        assert saved >= 100 * (1 - float(share)) - 0.06
