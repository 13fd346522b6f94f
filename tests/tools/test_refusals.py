"""Configs, lists, videos, checkpoints, schedules and pruners that cannot be used: one clear line.

What the line says of every kind is tested where it is made; here that the tools end in it.
"""

from __future__ import annotations

import gzip
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch

from sta.start import pruner_names
from tests.checkpoints.sources import Touch

from .tiny import ROOT, run_tool

ALL = ('test', 'train', 'count_flops', 'benchmark')
WHOLE_MODEL = (ROOT / 'configs' / '_base_' / 'models' / 'sta_vit.py').read_text()
MODEL = WHOLE_MODEL.split('# One pass')[0]
EMPTY = ''.join(
    f'{part} = dict()\n'
    for part in ('test_cfg', 'test_dataloader', 'train_cfg', 'train_dataloader', 'optim_wrapper')
)
# Tools, the text of a config (of no base, where a line says so), and what is said of it.
CONFIGS = [
    (ALL, '# no base\na = 1\nmodel = dict(\n', ('child.py', 'SyntaxError', 'line 3')),
    (ALL, 'test_dataloder = dict(batch_size=1)', ("'test_dataloder'", "'test_dataloader'")),
    (ALL, f'# no base\n{EMPTY}', ('child.py', 'defines no model')),
    (
        ('test', 'benchmark', 'count_flops'),
        'model = dict(backbone=dict(type="VisionTransformer"))',
        ('cannot drop tokens', 'STAVisionTransformer'),
    ),
    (['test'], f'# no base\ntest_dataloader = dict()\n{MODEL}', ('child.py', 'no test_cfg')),
    (['test'], f'# no base\ntest_cfg = dict()\n{MODEL}', ('child.py', 'no test_dataloader')),
    (['test'], 'model = dict(backbone=dict(img_size=33))', ('33', '8')),
    (['test'], 'model = dict(backbone=dict(depth=0))', ('depth', '0')),
    (['test'], 'model = dict(backbone=dict(depth="abc"))', ("'abc'",)),
    (
        ['test'],
        'model = dict(backbone=dict(type="STAVisionTransfomer"))',
        ('Transfomer', 'registry'),
    ),
    (['test'], 'model = dict(backbone=dict(schedule=64))', ('64', '16 tokens', '15')),
    (['test'], 'model = dict(cls_head=dict(num_classs=3))', ("'num_classs'",)),
]


@pytest.mark.parametrize(
    ('tool', 'text', 'said'),
    [
        pytest.param(tool, text, said, id=f'{tool}, {said[-1]}')
        for tools, text, said in CONFIGS
        for tool in tools
    ],
)
def test_a_config_that_cannot_be_used(refused, child, tmp_path, tool, text, said) -> None:
    config = child(text)
    if text.startswith('# no base'):
        config.write_text(text)
    refused(tool, config, said=said)


@pytest.mark.parametrize('tool', ALL)
def test_a_missing_config(refused, tool) -> None:
    wrong = ROOT / 'configs' / 'sta_vit_k40.py'
    refused(tool, wrong, said=(f'config {wrong} does not exist', 'sta_vit_k400.py'))


OPTIONS = [
    ('abc', ('key=value', "'abc'")),
    ('model.backbon.depth=6', ("'backbon'",)),
    ('test_cfg.scheduls=[0]', ("'scheduls'",)),
    ('test_cfg.schedules=[]', ('schedules', 'at least one', '[]')),
    ('test_cfg.schedules=5', ('schedules', '5', 'list')),
    ('test_cfg.pruners=[]', ('pruners', 'at least one', '[]')),
    ('test_cfg.pruners=sta', ('pruners', "'sta'", 'list')),
    ('test_cfg.type=TestLoop', ('TestLoop',)),
    ('test_cfg.type=Nonsense', ('VariantTestLoop', "'Nonsense'")),
    ('test_cfg.precision=fp8', ('precision', "'fp8'", 'bf16')),
    ('test_cfg.max_views_per_forward=0', ('max_views_per_forward', '0')),
    ('test_dataloader=5', ('test_dataloader', '5')),
    ('test_dataloader.bach_size=2', ("'bach_size'",)),
    ('test_dataloader.batch_size=0', ('batch_size', '0')),
    ('test_dataloader.num_workers=-1', ('num_workers', 'got -1')),
    ('test_dataloader.dataset.typ=a', ("'typ'",)),
    ('test_dataloader.dataset.pipeline.0.type=OpenVido', ('OpenVido',)),
    ('randomness.sed=3', ('sed',)),
    # Of weights of another size: a schedule that does not fit would be found before they are read.
    ('model.backbone.depth=4', ('does not fit', '13 missing', 'blocks.3', '3 blocks of width 24')),
    ('model.backbone.depth=2', ('does not fit', '13 unexpected', 'blocks.2')),
    ('model.cls_head.num_classes=9', ('does not fit', '(7,) instead of (9,)', 'and 7 classes')),
]


@pytest.mark.parametrize(('option', 'said'), OPTIONS)
def test_an_option_that_cannot_be(refused, tiny, option, said) -> None:
    schedules = ('--schedules', '0') if option.startswith('model.') else ()
    arguments = (tiny.one_view, tiny.checkpoint, *schedules, '--cfg-options', option)
    refused('test', *arguments, said=said)


@pytest.fixture
def listed(tmp_path, child):
    """A config whose annotation file holds this."""

    def make(content: str | bytes, more: str = '', of_data: str = '') -> Path:
        path = tmp_path / 'list.txt'
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        data = f'dict(ann_file={str(path)!r}{of_data})'
        return child(f'test_dataloader = dict(dataset={data}{more})')

    return make


STRICT = ", on_broken='error'"


@pytest.mark.parametrize(
    ('content', 'of_data', 'said'),
    [
        ('\n  \n\n', '', ('list.txt', 'is empty')),
        ('clip 0.mp4 3\n\nclip 1.mp4 1.5\n', '', ('list.txt, line 3', "'path label'", 'mp4 1.5')),
        ('clip 0.mp4 6\nclip 1.mp4 7\n', '', ('list.txt, line 2', 'label 7', 'between 0 and 6')),
        (b'\x00\xa0\xff' * 30, '', ('list.txt',)),
        (b'a.mp4 3\n./a.mp4 4\n', '', ('a.mp4, also called ./a.mp4, has label 3 in line 1',)),
        (gzip.compress(b'a.mp4 3\na.mp4 4\n', mtime=0), '', ('a.mp4 has label 3 in line 1',)),
        (
            'run/a.mp4 3\nsit/b.mp4 1\n',
            ", classes='names.txt'",
            ('run/a.mp4 has label 3', 'follow the'),
        ),
        (
            'a.mp4 3\n',
            ", classes='bytes.txt'",
            ('class list bytes.txt is not UTF-8 text', 'in line 1'),
        ),
        ('clip 0.mp4 6\nclip 9.mp4 1\n', STRICT, ('1 of 2 videos', 'clip 9.mp4')),
    ],
)
def test_a_list_that_cannot_be_used(refused, listed, content, of_data, said) -> None:
    Path('names.txt').write_text('\n'.join(['run', 'sit', *'abcde']))
    Path('bytes.txt').write_bytes(b'caf\xe9\n')
    refused('test', listed(content, of_data=of_data), said=said)


@pytest.mark.parametrize(
    ('setting', 'said'),
    [
        (
            'ann_file="nowhere/val.txt"',
            ('annotation file nowhere/val.txt does not exist', 'path label'),
        ),
        (
            'data_prefix=dict(video="nowhere")',
            ('7 of 7 videos', 'nowhere/clip 0.mp4', 'data_prefix'),
        ),
        ('time_limit_s=-1', ('positive number, got -1',)),
        ("classes='kinetics'", ('class list kinetics cannot be read',)),
        ("classes='ssv2'", ('num_classes is 7, but the class list ssv2 has 174 names',)),
    ],
)
def test_settings_of_the_data_set_that_cannot_be(refused, child, setting, said) -> None:
    refused('test', child(f'test_dataloader = dict(dataset=dict({setting}))'), said=said)


def test_labels_beyond_the_classes_of_the_model(refused, child) -> None:
    wrong = child(
        'model = dict(cls_head=dict(num_classes=3))\n'
        'test_dataloader = dict(dataset=dict(num_classes=None))'
    )
    refused('test', wrong, said=('label', '3'))


@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_video(refused, tiny, listed, tmp_path, workers) -> None:
    wrong = tmp_path / 'damaged.mp4'
    wrong.write_bytes(b'not a video' * 50)
    text = f'{tiny.names[0]} 3\n{wrong} 1\n'
    config = listed(text, f', num_workers={workers}', of_data=STRICT)
    refused('test', config, said=(f'video {wrong} cannot be used',))


def test_nothing_but_damaged_videos_leave_one_line_of_all_libraries(
    listed, tmp_path, capfd
) -> None:
    """FFmpeg and decord, which write lines of their own, included."""
    for i in range(3):
        (tmp_path / f'{i}.mp4').write_bytes(b'not a video' * 50)
    config = listed(''.join(f'{tmp_path}/{i}.mp4 1\n' for i in range(3)))
    assert run_tool('test', config) == 2
    error = capfd.readouterr().err
    assert [line for line in error.splitlines() if not line.startswith('evaluated 3/3')] == [
        f'error: none of the 3 videos can be used; the first is {tmp_path}/0.mp4: it cannot be '
        f'decoded: invalid data found when processing input'
    ]


@pytest.mark.parametrize(
    ('name', 'content', 'said'),
    [
        ('no.pth', None, 'checkpoint no.pth does not exist'),
        ('.', None, 'is a folder'),
        ('notes.safetensors', b'hello there\n' * 9, 'notes.safetensors'),
        ('empty.bin', b'', 'empty.bin'),
        ('page.pth', b'<!DOCTYPE html><html>', 'is a web page, not the file itself: download it'),
        ('other.pth', {'epoch': 3}, 'holds no weights'),
        ('other.pth', {'state_dict': {'conv1.weight': torch.zeros(2)}}, 'conv1.weight'),
    ],
)
def test_a_checkpoint_that_cannot_be_used(refused, tiny, name, content, said) -> None:
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content is not None:
        torch.save(content, name)
    refused('test', tiny.one_view, name, said=(name, said))


def test_a_text_file_is_told_in_words(refused, tiny, tmp_path) -> None:
    (tmp_path / 'notes.pth').write_text('hello there\n' * 9)
    line = refused('test', tiny.one_view, tmp_path / 'notes.pth', said=())
    assert len(line.rpartition(':')[2].split()) > 1


@pytest.mark.parametrize(
    ('form', 'said'),
    [
        ('zip', 'was refused: it asks to call '),
        ('legacy', 'was refused'),
        ('plain', 'not those of a plain torch checkpoint'),
    ],
)
def test_a_malicious_pickle_is_not_run(refused, tiny, tmp_path, form, said) -> None:
    gotcha, path = tmp_path / 'gotcha', tmp_path / 'evil.pth'
    content = {'state_dict': {'a': torch.zeros(1)}, 'x': Touch(os.mkdir, str(gotcha))}
    if form == 'plain':
        path.write_bytes(pickle.dumps({'x': content['x']}, protocol=4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == 'zip')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        refused('test', tiny.one_view, path, said=(str(path), said))
    assert not gotcha.exists()


def test_an_index_that_points_elsewhere(refused, tiny, tmp_path) -> None:
    index = tmp_path / 'model' / 'model.safetensors.index.json'
    index.parent.mkdir()
    index.write_text('{"weight_map": {"a": "../secret.safetensors"}}')
    (tmp_path / 'secret.safetensors').write_bytes(b'secret')
    said = (f'{index} was refused: it asks for ../secret.safetensors',)
    refused('test', tiny.one_view, index.parent, said=said)


def stage(**changes: object) -> str:
    return str([{'after_block': 0, 'num_chunks': 8, 'num_drop': 2, **changes}])


MISSPELT = stage().replace('after_block', 'after_blok')
TOO_FAR = ('groups 4 temporal tokens', 'has 6', 'multiple of 4')
# Arguments behind the config and the checkpoint, and what is said.
VARIANTS = [
    (('--schedules', '64'), ('64', '16 tokens per chunk', 'at most 15')),
    (('--schedules', '2', '16'), ('16 of 16', 'at most 15')),
    (('--schedules', '-4'), ('-4', 'at least 0')),
    (('--schedules', 'abc'), ("'abc'", 'whole number')),
    (('--schedules', '1.5'), ("'1.5'", 'whole number')),
    (('--schedules', '2', '2'), ('sta-2', 'twice')),
    (('--schedules', '2,2,2,2'), ('4 stages', '3 blocks')),
    (('--schedules', stage(num_chunks=3)), ('stage 1', '[1, 2, 4, 8]', 'got 3')),
    (('--schedules', MISSPELT), ('stage 1', "'after_blok'", "'after_block'")),
    (('--schedules', stage(after_block=9)), ('stage 1', '9', '2')),
    (('--schedules', "['a']"), ("'a'", 'whole number')),
    (('--schedules', '2', '--cfg-options', 'model.backbone.num_frames=12'), TOO_FAR),
    (('--pruners', 'stab'), ("'stab'", *pruner_names().split(', '))),
    (('--pruners', 'sta:score'), ("'score'", 'key=value')),
    (('--pruners', 'sta:first_frame=grid', '--schedules', '3'), ('square', 'got 3', '1 and 4')),
    (('--pruners', 'sta:scroe=temporal'), ("'scroe'", "'score'")),
    (('--pruners', 'sta:score=best'), ("'best'", "'product'")),
    (('--pruners', 'random:seed=x'), ('seed', "'x'")),
    (('--seeds', '0', '--pruners', 'random'), ('--seeds must be at least 1', 'got 0')),
    (('--seeds', '3', '--pruners', 'sta', 'tome'), ('pruners that draw', 'sta, tome')),
    (('--seeds', '2', '--pruners', 'sta:scroe=1'), ("'scroe'",)),
]


@pytest.mark.parametrize(('arguments', 'said'), VARIANTS)
def test_a_schedule_or_a_pruner_that_cannot_be(refused, tiny, arguments, said) -> None:
    refused('test', tiny.one_view, tiny.checkpoint, *arguments, said=said)


@pytest.mark.xfail(strict=True, reason='argparse takes it for a flag: expected one argument')
def test_negative_drops_per_stage_are_named(refused, tiny) -> None:
    refused('test', tiny.one_view, '--schedules', '-2,0,0', said=('-2', 'at least 0'))


@pytest.mark.parametrize('tool', ['count_flops', 'benchmark'])
def test_a_schedule_or_a_pruner_that_cannot_be_in_the_other_tools(refused, tiny, tool) -> None:
    refused(tool, tiny.one_view, '--schedules', '64', said=('64', 'at most 15'))
    flag = '--pruner' if tool == 'benchmark' else '--pruners'
    for pruner, said in (('stab', ("'stab'", 'tube-random')), ('sta:scroe=1', ("'scroe'",))):
        refused(tool, tiny.one_view, '--schedules', '0', '2', flag, pruner, said=said)


@pytest.mark.parametrize('tool', ['test', 'count_flops'])
def test_a_budget_that_cannot_be_met(refused, misused, tiny, tool) -> None:
    for arguments, said in (
        (('1.5',), ('sta: ', 'between 0 and 1', '1.5')),
        (('0.8', '0'), ('between 0 and 1', 'got 0')),
        (('0.05', '--pruners', 'random'), ('random: budget 0.05', 'at least 0.')),
        (('0.8', '--pruners', 'sta:scroe=1'), ("'scroe'",)),
    ):
        refused(tool, tiny.one_view, '--budget', *arguments, said=said)
    for arguments, said in (
        (('half',), ('--budget', "'half'")),
        (('0.5', '--schedules', '2'), ('--schedules', 'not allowed with', '--budget')),
        ((), ('--budget', 'at least one')),
    ):
        misused(tool, tiny.one_view, '--budget', *arguments, said=said)
