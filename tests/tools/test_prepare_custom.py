"""From videos of one's own to an evaluation, and every way to get it wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sta.engine.config import load_config

from .preparation import listed, table, write_lines, write_videos
from .tiny import ROOT, Tiny, run_tool

Refused = Callable[..., str]
CONFIG = str(ROOT / 'configs' / 'sta_vit_k400.py')


def prepare(source: object, *more: object, config: object = CONFIG, out: str = 'out') -> int:
    arguments = ('--out', out, '--workers', 1, '--config', config)
    return run_tool('prepare_custom', source, *arguments, *more)


def dataset(out: str = 'out') -> dict:
    return load_config(f'{out}/config.py').test_dataloader.dataset


def test_class_folders(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'run/b.mp4', 'run/2024/a.mp4', 'jump/c.mp4', 'loose.mp4')
    assert prepare('mine') == 0
    lines = [('jump/c.mp4', 0), ('run/2024/a.mp4', 1), ('run/b.mp4', 1)]
    assert listed(Path('out/list_videos.txt')) == lines
    assert Path('out/classes.txt').read_text() == 'jump\nrun\n'
    assert [row['class'] for row in table(Path('out/manifest.csv'))] == ['jump', 'run', 'run']
    said = capsys.readouterr().out
    assert '1 file in the folder named by no annotation, e.g. loose.mp4' in said
    assert 'a checkpoint with these 2 classes is needed' in said
    assert said.splitlines()[-1] == 'next: python tools/test.py out/config.py CHECKPOINT'


def test_files_that_are_left_out_are_named(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'run/a.mp4', 'run/b.TS', 'run/c.m2ts', 'run/d.flv', 'run/e')
    for name in ('run/a.jpg', 'run/b.srt', '.DS_Store', 'run/._a.mp4'):
        (tmp_path / 'mine' / name).write_bytes(b'no video')
    assert prepare('mine') == 0
    names = ['run/a.mp4', 'run/b.TS', 'run/c.m2ts', 'run/d.flv', 'run/e']
    assert listed(Path('out/list_videos.txt')) == [(name, 0) for name in names]
    said = '2 files left out, since no suffix of a video is theirs (1 .jpg, 1 .srt), e.g. run/a.jpg'
    assert capsys.readouterr().out.splitlines()[1] == said


def test_labels_that_contradict_the_folders(refused: Refused, tmp_path) -> None:
    write_videos(tmp_path, 'run/a.mp4', 'sit/b.mp4')
    names = write_lines(tmp_path / 'names.txt', 'run', 'sit')
    said = ('2 of 2 labels contradict the folder', 'must follow the order')
    for lines in (('run/a.mp4 1', 'sit/b.mp4 0'), ('run/a.mp4,sit', 'sit/b.mp4,run')):
        write_lines(tmp_path / 'l.csv', *lines)
        arguments = ('l.csv', '--out', 'out', '--config', CONFIG)
        refused('prepare_custom', *arguments, '--classes', names, said=said)
    refused('prepare_custom', *arguments, said=said)  # the csv itself names the classes


def test_a_locale_without_the_letters(tmp_path) -> None:
    """The same list under LC_ALL=C, where Python spells names of files in another way."""
    write_videos(tmp_path / 'mine', 'größe/ä.mp4', 'zwei/b.mp4')
    assert prepare('mine') == 0
    ascii_only = dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
    arguments = ('mine', '--out', 'again', '--workers', '1', '--config', CONFIG)
    done = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'prepare_custom.py', *arguments],
        env={**os.environ, 'PYTHONPATH': str(ROOT), **ascii_only},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ('list_videos.txt', 'classes.txt'):
        assert Path('again', name).read_bytes() == Path('out', name).read_bytes()
    assert Path('out/list_videos.txt').read_text(encoding='utf-8').startswith('größe/ä.mp4 0\n')
    paths = [row['path'] for row in table(Path('again/manifest.csv'))]
    assert paths == ['größe/ä.mp4', 'zwei/b.mp4']


def test_the_config_finds_everything_from_anywhere(tmp_path, monkeypatch) -> None:
    write_videos(tmp_path / 'mine', 'run/b.mp4', 'jump/c.mp4')
    assert prepare('mine') == 0
    monkeypatch.chdir('/')
    config = load_config(str(tmp_path / 'out' / 'config.py'))
    assert config.model.cls_head.num_classes == 2
    assert config.model.backbone.type == 'STAVisionTransformer'
    found = config.test_dataloader.dataset
    assert found.ann_file == str(tmp_path / 'out' / 'list_videos.txt')
    assert found.data_prefix.video == str(tmp_path / 'mine')
    assert found.classes == str(tmp_path / 'out' / 'classes.txt')
    assert found.num_classes == 2 and found.test_mode


def test_names_of_kinetics_get_its_labels(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'Arm_Wrestling/b.mp4', 'abseiling/c.mp4')
    assert prepare('mine', '--map', 'kinetics400') == 0
    lines = [('Arm_Wrestling/b.mp4', 6), ('abseiling/c.mp4', 0)]
    assert listed(Path('out/list_videos.txt')) == lines
    assert (dataset().num_classes, dataset().classes) == (400, 'kinetics400')
    assert len(Path('out/classes.txt').read_text().splitlines()) == 400
    said = capsys.readouterr().out
    assert 'any checkpoint with the 400 classes of kinetics400' in said and '2 of them' in said


def test_names_of_kinetics_are_recognised(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'arm_wrestling/b.mp4')
    assert prepare('mine') == 0
    assert '--map kinetics400 needs no training' in capsys.readouterr().out


@pytest.mark.parametrize(
    'lines',
    [
        ('path,label', 'a.mp4,run', '"sub/b, c.mp4",jump'),
        ('label,quality,path', 'run,3,a.mp4', 'jump,4,"sub/b, c.mp4"'),
        ('a.mp4,run', '"sub/b, c.mp4",jump'),
        ('\ufeffPath;Label\r', 'a.mp4;run\r', 'sub/b, c.mp4;jump\r'),
        ('video\tclass', 'a.mp4\trun', 'sub/b, c.mp4\tjump'),
        ('', 'path, label', ' ./a.mp4 , run ', '', '"sub/b, c.mp4", jump'),
    ],
    ids=['header', 'order', 'no header', 'spreadsheet', 'tabs', 'blanks'],
)
def test_a_csv_with_names(tmp_path, lines) -> None:
    write_videos(tmp_path / 'films', 'a.mp4', 'sub/b, c.mp4')
    write_lines(tmp_path / 'films' / 'labels.csv', *lines)
    assert prepare('films/labels.csv') == 0
    assert listed(Path('out/list_videos.txt')) == [('a.mp4', 1), ('sub/b, c.mp4', 0)]
    assert Path('out/classes.txt').read_text() == 'jump\nrun\n'


@pytest.mark.parametrize('lines', [('path,label', 'a.mp4,2', 'b.mp4,0'), ('a.mp4 2', 'b.mp4 0')])
def test_a_csv_with_numbers(tmp_path, lines) -> None:
    write_videos(tmp_path / 'films', 'a.mp4', 'b.mp4')
    source = write_lines(tmp_path / 'labels.csv', *lines)
    assert prepare(source, '--videos', 'films') == 0
    assert listed(Path('out/list_videos.txt')) == [('a.mp4', 2), ('b.mp4', 0)]
    assert Path('out/classes.txt').read_text() == '0\n1\n2\n'
    names = write_lines(tmp_path / 'names.txt', 'run', 'jump', 'fall', 'sit')
    assert prepare(source, '--videos', 'films', '--classes', names, out='named') == 0
    assert Path('named/classes.txt').read_text() == 'run\njump\nfall\nsit\n'
    assert dataset('named').num_classes == 4


def test_a_namesake_elsewhere_is_another_video(tmp_path) -> None:
    write_videos(tmp_path / 'films', 'a.mp4', 'b.mp4')
    source = write_lines(tmp_path / 'labels.csv', 'gone/a.mp4,0', 'b.mp4,1')
    assert prepare(source, '--videos', 'films') == 0
    assert listed(Path('out/list_videos.txt')) == [('b.mp4', 1)]


def test_videos_outside_of_the_folder_are_taken_and_shown(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'films', 'a.mp4', 'b.mp4')
    absolute = tmp_path / 'films' / 'b.mp4'
    source = write_lines(tmp_path / 'labels.csv', '../films/a.mp4,0', f'{absolute},1')
    (tmp_path / 'empty').mkdir()
    assert prepare(source, '--videos', 'empty') == 0
    assert listed(Path('out/list_videos.txt')) == [('../films/a.mp4', 0), (str(absolute), 1)]
    assert '2 videos outside of the folder, e.g. ../films/a.mp4' in capsys.readouterr().out


def test_repeated_lines_and_labels_that_contradict(tmp_path, capsys) -> None:
    write_videos(tmp_path, 'a.mp4', 'b.mp4')
    write_lines(tmp_path / 'l.csv', 'a.mp4,0', 'b.mp4,0', './a.mp4,0', 'b.mp4,3', 'b.mp4,0')
    assert prepare('l.csv') == 0
    assert listed(Path('out/list_videos.txt')) == [('a.mp4', 0)]
    reason = {'path': 'b.mp4', 'label': '', 'reason': 'it has the labels 0 and 3'}
    assert table(Path('out/excluded.csv')) == [reason]
    assert '3 x l.csv names a video again' in capsys.readouterr().out


def test_a_class_without_videos_where_all_names_are_given(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'run/b.mp4')
    (tmp_path / 'mine' / 'fall').mkdir()
    names = write_lines(tmp_path / 'names.txt', 'sit', 'run', 'fall')
    assert prepare('mine', '--classes', names) == 0
    assert listed(Path('out/list_videos.txt')) == [('run/b.mp4', 1)]
    assert '1 folder without videos, e.g. fall' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('lines', 'more', 'said'),
    [
        ((), (), ('l.csv is empty',)),
        (('path,label',), (), ('l.csv names no video',)),
        (('a.mp4',), (), ('two columns, path and label', "'a.mp4'")),
        (('name,age', 'a.mp4,0'), (), ('two columns, path and label', "'name,age'")),
        (('path,label', 'a.mp4,'), (), ('line 2', "'a.mp4,'")),
        (('path,label', 'a.mp4,0,1'), (), ('line 2', "'a.mp4,0,1'")),
        (('path,label', 'a.mp4,"ru\nn"'), (), ('line 3', "'ru\\nn' is no class name")),
        (('path,label', 'a.mp4,1.0'), (), ('line 2', "'1.0' is neither")),
        (('path,label', 'a.mp4,-1'), (), ('line 2', 'label -1')),
        (('path,label', 'a.mp4,99999999'), (), ('line 2', '99999999', '9999')),
        (('path,label', 'a.mp4,2'), ('--classes', 'c.txt'), ('line 2', 'label 2', '2 classes')),
        (('a.mp4 2',), ('--classes', 'c.txt'), ('line 1', 'label 2', 'between 0 and 1')),
        (('path,label', 'a.mp4,rum'), ('--classes', 'c.txt'), ("'rum' (is it 'run'?)", 'c.txt')),
        (('path,label', 'a.mp4,400'), ('--map', 'kinetics400'), ('label 400', '400 classes')),
        (('path,label', 'a.mp4,run'), ('--map', 'kinetics400'), ("'run'", 'kinetics400')),
        (('path,label', 'b.mp4,0'), (), ('none of the 1 videos', 'expected e.g. b.mp4')),
        (('path,label', 'a.mp4,0'), ('--videos', 'nowhere'), ('nowhere does not exist',)),
        (('path,label', 'a.mp4,0'), ('--classes', 'no.txt'), ('class list no.txt',)),
        (('path,label', 'a.mp4,0'), ('--config', 'no.py'), ('config no.py does not exist',)),
    ],
)
def test_a_csv_that_cannot_be_used(
    refused: Refused, tmp_path: Path, lines: tuple, more: tuple, said: tuple
) -> None:
    write_videos(tmp_path, 'a.mp4')
    write_lines(tmp_path / 'l.csv', *lines)
    write_lines(tmp_path / 'c.txt', 'run', 'sit')
    more = more if '--config' in more else (*more, '--config', CONFIG)
    refused('prepare_custom', 'l.csv', '--out', 'out', *more, said=said)
    assert not Path('out').exists()


@pytest.mark.parametrize('content', [b'path,label\na\xff.mp4,0\n', b'\x00\x01\xfe\xff' * 9])
def test_a_csv_that_is_no_text(refused: Refused, tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'l.csv').write_bytes(content)
    arguments = ('l.csv', '--out', 'out', '--config', CONFIG)
    refused('prepare_custom', *arguments, said=('l.csv', 'UTF-8'))


@pytest.mark.parametrize(
    ('files', 'more', 'said'),
    [
        ((), (), ('0 folders and no videos', 'a folder for every class')),
        (('a.mp4',), (), ('0 folders and 1 video outside', 'a folder for every class')),
        (('run/a.txt.mp4', 'sit/'), (), ('mine/sit holds no video', '--classes')),
        (('train/run/a.mp4', 'val/run/b.mp4'), (), ('splits', 'mine/train')),
        (('run/a.mp4',), ('--map', 'ssv2'), ("'run'", '174')),
        (('run/a.mp4',), ('--videos', 'mine'), ('--videos goes with a csv',)),
        (('run/a.mp4', 'run/b\nc.mp4'), (), ("'run/b\\nc.mp4'", 'rename it')),
        (
            ('run/\udcff.mp4', 'run/\udcfe.mp4'),
            (),
            ('2 names', "'run/\\udcfe.mp4'", 'rename them'),
        ),
        (('run/a.mp4', 'run /a.mp4'), (), ("'run' and 'run '", 'differ in blanks')),
        (('run/a.mp4.part',), (), ('no videos', 'a folder for every class', '1 file left out')),
        (('run/a.mp4', 'run/ .mp4', ' run/a.mp4'), (), ("' run/a.mp4'", 'rename it')),
    ],
)
def test_folders_that_cannot_be_used(
    refused: Refused, tmp_path: Path, files: tuple, more: tuple, said: tuple
) -> None:
    (tmp_path / 'mine').mkdir()
    for name in files:
        (tmp_path / 'mine' / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith('/'):
            (tmp_path / 'mine' / name).mkdir()
        else:
            (tmp_path / 'mine' / name).write_bytes(b'')
    arguments = ('mine', '--out', 'out', '--config', CONFIG, *more)
    refused('prepare_custom', *arguments, said=said)


def test_a_missing_source_and_a_config_without_a_model(refused: Refused, tmp_path: Path) -> None:
    refused('prepare_custom', 'gone', '--out', 'o', '--config', CONFIG, said=('gone', 'No such'))
    empty = write_lines(tmp_path / 'empty.py', 'a = 1')
    said = ('empty.py defines no model',)
    refused('prepare_custom', 'gone', '--out', 'o', '--config', empty, said=said)


def test_a_config_of_an_earlier_run_is_kept(refused: Refused, tmp_path: Path) -> None:
    write_videos(tmp_path / 'mine', 'run/b.mp4')
    (tmp_path / 'out').mkdir()
    write_lines(tmp_path / 'out' / 'config.py', 'precious = 1')
    arguments = ('mine', '--out', 'out', '--config', CONFIG)
    refused('prepare_custom', *arguments, said=('out/config.py', '--force'))
    assert Path('out/config.py').read_text() == 'precious = 1\n'
    assert prepare('mine', '--force') == 0


def test_from_folders_to_an_accuracy(tmp_path: Path, tiny: Tiny, capsys) -> None:
    """What the tool says to type next works, also with a broken video among the good ones."""
    names = [f'class {label}' for label in range(7)]
    for label, name in enumerate(names):
        write_videos(tmp_path / 'mine' / name, 'first.mp4', f'no {label}.mp4')
    (tmp_path / 'mine' / names[2] / 'first.mp4').write_bytes(b'')
    assert prepare('mine', config=tiny.one_view) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    assert command[:3] == ['next:', 'python', 'tools/test.py'] and command[-1] == 'CHECKPOINT'
    assert run_tool('test', command[3], tiny.checkpoint, '--work-dir', 'results') == 0
    scores = np.load('results/scores.npz')
    assert scores['labels'].tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert scores['names'][4] == str(tmp_path / 'mine' / 'class 2' / 'no 2.mp4')
    assert '13 videos' in capsys.readouterr().out
