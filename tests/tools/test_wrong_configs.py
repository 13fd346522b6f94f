"""Configs that cannot be used end every command line with one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .tiny import ROOT, Tiny

TOOLS = ('test', 'train', 'count_flops', 'benchmark')
Refused = Callable[..., str]


@pytest.mark.parametrize('tool', TOOLS)
def test_a_missing_config(refused: Refused, tool: str) -> None:
    wrong = ROOT / 'configs' / 'sta_vit_k40.py'
    refused(tool, wrong, said=(f'config {wrong} does not exist', 'sta_vit_k400.py'))


@pytest.mark.parametrize('tool', TOOLS)
def test_a_config_with_a_syntax_error(refused: Refused, tool: str, tmp_path: Path) -> None:
    wrong = tmp_path / 'wrong.py'
    wrong.write_text('a = 1\nmodel = dict(\n')
    refused(tool, wrong, said=(str(wrong), 'SyntaxError', 'line 2'))


@pytest.mark.parametrize('tool', TOOLS)
def test_a_misspelt_key(refused: Refused, tool: str, child: Callable[..., Path]) -> None:
    wrong = child('test_dataloder = dict(batch_size=1)')
    refused(tool, wrong, said=("'test_dataloder'", "'test_dataloader'"))


MODELS = [
    pytest.param('model = dict(backbone=dict(depht=4))', ("'depht'",), id='backbone.depht'),
    pytest.param(
        'model = dict(backbone=dict(type="STAVisionTransfomer"))',
        ('STAVisionTransfomer', 'registry'),
        id='backbone type',
    ),
    pytest.param('model = dict(backbone=dict(num_heads=5))', ('24', '5'), id='heads'),
    pytest.param('model = dict(backbone=dict(img_size=33))', ('33', '8'), id='img_size'),
    pytest.param('model = dict(backbone=dict(depth=0))', ('depth', '0'), id='depth'),
    pytest.param('model = dict(cls_head=dict(num_classs=3))', ("'num_classs'",), id='head'),
    pytest.param(
        'model = dict(backbone=dict(schedule=64))',
        ('64', '16 tokens', '15'),
        id='schedule',
    ),
    pytest.param(
        'model = dict(backbone=dict(depth="abc"))',
        ("'abc'",),
        id='depth text',
    ),
]


@pytest.mark.parametrize(('text', 'said'), MODELS)
def test_a_model_that_cannot_be_built(
    refused: Refused, child: Callable[..., Path], text: str, said: tuple[str, ...]
) -> None:
    refused('test', child(text), said=said)


HOST_VIT = 'model = dict(backbone=dict(type="VisionTransformer"))'


@pytest.mark.parametrize(
    'tool',
    [
        'test',
        'benchmark',
        'count_flops',
    ],
)
def test_a_backbone_that_cannot_prune(
    refused: Refused, child: Callable[..., Path], tool: str
) -> None:
    refused(tool, child(HOST_VIT), said=('cannot drop tokens', 'STAVisionTransformer'))


@pytest.mark.parametrize(
    'tool',
    [
        'test',
        'count_flops',
        'benchmark',
        'train',
    ],
)
def test_a_config_without_a_model(refused: Refused, tmp_path: Path, tool: str) -> None:
    wrong = tmp_path / 'no_model.py'
    parts = ('test_cfg', 'test_dataloader', 'train_cfg', 'train_dataloader', 'optim_wrapper')
    wrong.write_text(''.join(f'{part} = dict()\n' for part in parts))
    refused(tool, wrong, said=(str(wrong), 'defines no model'))


@pytest.mark.parametrize('part', ['test_cfg', 'test_dataloader'])
def test_a_config_without_a_part_of_the_evaluation(
    refused: Refused, tiny: Tiny, tmp_path: Path, part: str
) -> None:
    wrong = tmp_path / 'part.py'
    model = ROOT / 'configs' / '_base_' / 'models' / 'sta_vit.py'
    other = 'test_dataloader = dict()' if part == 'test_cfg' else 'test_cfg = dict()'
    wrong.write_text(f'{other}\n' + model.read_text().split('# One pass')[0])
    refused('test', wrong, said=(str(wrong), f'defines no {part}'))


OPTIONS = [
    pytest.param('abc', ('key=value', "'abc'"), id='no ='),
    pytest.param('model.backbon.depth=6', ("'backbon'",), id='unknown path'),
    pytest.param('test_cfg.scheduls=[0]', ("'scheduls'",), id='scheduls'),
    pytest.param('test_cfg.schedules=[]', ('schedules', 'at least one', '[]'), id='no schedule'),
    pytest.param('test_cfg.pruners=[]', ('pruners', 'at least one', '[]'), id='no pruner'),
    pytest.param('test_cfg.type=TestLoop', ('TestLoop',), id='other loop'),
    pytest.param('test_cfg.type=Nonsense', ('VariantTestLoop', "'Nonsense'"), id='unknown loop'),
    pytest.param('test_dataloader.bach_size=2', ("'bach_size'",), id='bach_size'),
    pytest.param('test_dataloader.dataset.typ=a', ("'typ'",), id='data set argument'),
    pytest.param('test_dataloader.dataset.pipeline.0.type=OpenVido', ('OpenVido',), id='transform'),
    pytest.param('test_cfg.precision=fp8', ('precision', "'fp8'", 'bf16'), id='precision'),
    pytest.param('test_cfg.max_views_per_forward=0', ('max_views_per_forward', '0'), id='views'),
    pytest.param('test_dataloader.batch_size=0', ('batch_size', '0'), id='batch size'),
    pytest.param('test_dataloader.num_workers=-1', ('num_workers', 'got -1'), id='workers'),
    pytest.param('test_cfg.schedules=5', ('schedules', '5', 'list'), id='schedules no list'),
    pytest.param('test_cfg.pruners=sta', ('pruners', "'sta'", 'list'), id='pruners no list'),
    pytest.param('randomness.sed=3', ('sed',), id='randomness'),
    pytest.param(
        'test_dataloader=5',
        ('test_dataloader', '5'),
        id='data loader',
    ),
]


@pytest.mark.parametrize(('option', 'said'), OPTIONS)
def test_an_option_that_cannot_be(
    refused: Refused, tiny: Tiny, option: str, said: tuple[str, ...]
) -> None:
    arguments = (tiny.one_view, tiny.checkpoint, '--cfg-options', option)
    refused('test', *arguments, said=said)
