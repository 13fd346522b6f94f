"""From videos of one's own to an evaluation, and every way to get it wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sta.engine.config import load_config
from tests.datasets.movies import write_movie

from .preparation import listed, table, write_lines, write_videos
from .tiny import ROOT, run_tool

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
    assert 'split: 2 videos to train on, 1 to evaluate (20 % of every class, drawn' in said
    assert "warning: no video of 1 class is evaluated, e.g. 'jump'" in said
    assert said.splitlines()[-2:] == [
        'next: python tools/train.py out/train_config.py',
        'next: python tools/test.py out/config.py work_dirs/out/epoch_100.pth',
    ]
    lists = [listed(Path(f'out/{part}_list_videos.txt')) for part in ('train', 'val')]
    assert sorted(lists[0] + lists[1]) == sorted(lines) and len(lists[1]) == 1
    assert lists[1][0][1] == 1


def test_videos_without_a_second_one_are_all_evaluated(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'run/b.mp4', 'jump/c.mp4')
    assert prepare('mine') == 0
    said = capsys.readouterr().out
    assert 'no class holds two videos or groups to part: all are evaluated, none is trained' in said
    assert 'a checkpoint with these 2 classes is needed' in said
    assert said.splitlines()[-1] == 'next: python tools/test.py out/config.py CHECKPOINT'
    assert not Path('out/train_config.py').exists()


TRAIN_AND_TEST = ('train/run/a.mp4', 'Training/run/b.mp4', 'validation/run/c.mp4', 'test/sit/d.mp4')


def test_folders_that_are_splits(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', *TRAIN_AND_TEST)
    assert prepare('mine') == 0
    assert listed(Path('out/train_list_videos.txt')) == [
        ('Training/run/b.mp4', 0),
        ('train/run/a.mp4', 0),
    ]
    assert listed(Path('out/val_list_videos.txt')) == [('validation/run/c.mp4', 0)]
    assert listed(Path('out/test_list_videos.txt')) == [('test/sit/d.mp4', 1)]
    assert Path('out/classes.txt').read_text() == 'run\nsit\n'
    assert dataset().ann_file.endswith('/out/test_list_videos.txt')
    trained = load_config('out/train_config.py')
    assert trained.val_dataloader.dataset.ann_file.endswith('/out/val_list_videos.txt')
    said = capsys.readouterr().out
    assert 'split as given: 2 videos train, 1 video val, 1 video test' in said
    assert "no video of 1 class is trained on, e.g. 'sit'" in said


def test_a_csv_with_a_split_or_groups(tmp_path, refused, capsys) -> None:
    write_videos(tmp_path, *(f'{name}.mp4' for name in 'abcdef'))
    rows = ('path,split,label', 'a.mp4,train,x', 'b.mp4,dev,x', 'c.mp4,TRAIN,y', 'd.mp4,val,y')
    write_lines(tmp_path / 'l.csv', *rows)
    assert prepare('l.csv') == 0
    assert listed(Path('out/train_list_videos.txt')) == [('a.mp4', 0), ('c.mp4', 1)]
    assert listed(Path('out/val_list_videos.txt')) == [('b.mp4', 0), ('d.mp4', 1)]
    arguments = ('l.csv', '--out', 'o', '--config', CONFIG)
    refused('prepare_custom', *arguments, '--val-share', '0.5', said=('--val-share: l.csv says',))
    write_lines(tmp_path / 'l.csv', *rows, 'e.mp4,holdout,y')
    refused('prepare_custom', *arguments, said=("l.csv, line 6: split 'holdout' is none of train",))
    write_lines(tmp_path / 'l.csv', *rows, './a.mp4,val,x')
    refused('prepare_custom', *arguments, said=('line 6: a.mp4 is of the split val here and',))
    together = [f'{name}.mp4,x,{group}' for name, group in zip('abcdef', '112233')]
    write_lines(tmp_path / 'g.csv', 'path,label,group', *together)
    assert prepare('g.csv', '--val-share', '0.3', out='grouped') == 0
    assert 'kept together: 3 groups of 6 videos' in capsys.readouterr().out
    evaluated = ''.join(path[0] for path, _ in listed(Path('grouped/val_list_videos.txt')))
    assert evaluated in ('ab', 'cd', 'ef')


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (('--val-share', '0'), ('--val-share must be above 0',)),
        (('--group-by', '('), ("--group-by '(' is no pattern",)),
        (('--group-by', 'g[0-9]'), ("--group-by 'g[0-9]' finds nothing in run/a.mp4",)),
        (('--no-scan', '--full-decode'), ('--no-scan looks into no video, --full-decode at',)),
        (('--pretrained', 'no.pth'), ('no.pth', 'does not exist')),
        (('--pretrained', 'no.pth', '--val-share', '1'), ('no video is set apart to train on',)),
        (('--pretrained', 'CHECKPOINT'), ('weights.safetensors', 'does not fit')),
        (('--config', str(ROOT / 'configs/train_sta_vit_k400.py')), ('defines train_cfg', '1')),
    ],
)
def test_a_training_that_cannot_be(refused, tmp_path, tiny, more, said) -> None:
    """Said before the scan."""
    write_videos(tmp_path / 'mine', 'run/a.mp4', 'run/b.mp4')
    more = [tiny.checkpoint if word == 'CHECKPOINT' else word for word in more]
    refused('prepare_custom', 'mine', '--out', 'out', *more, said=said)
    assert not Path('out').exists()


@pytest.mark.parametrize(
    'name',
    ['sta_vit_small', 'sta_vit_motions', 'sta_swin_motions', 'sta_vit_k400', 'sta_swin_k400'],
)
def test_classes_are_set_once_and_no_transform_changes_labels(tmp_path, name) -> None:
    write_videos(tmp_path / 'mine', *(f'{c}/{i}.mp4' for c in 'xyz' for i in range(3)))
    assert prepare('mine', config=ROOT / f'configs/{name}.py') == 0
    for file in ('config', 'train_config'):
        text = Path(f'out/{file}.py').read_text()
        assert len(text.splitlines()) <= 18 and text.count('= 3') == (file == 'config')
        Path(f'out/{file}.py').write_text(text.replace('num_classes = 3', 'num_classes = 5'))
    config = load_config('out/train_config.py')
    model, loaders = config.model, (config.train_dataloader, config.val_dataloader)
    numbers = [model.cls_head.num_classes, config.test_dataloader.dataset.num_classes]
    numbers += [augment.num_classes for augment in model.data_preprocessor.blending.augments]
    numbers += [loader.dataset.num_classes for loader in loaders]
    assert numbers == [5] * 6
    assert [loader.dataset.test_mode for loader in loaders] == [False, True]
    assert 'MotionSymmetry' not in str([loader.dataset.pipeline for loader in loaders])
    [clip] = config.train_dataloader.dataset.pipeline
    backbone = model.backbone
    assert (clip.clip_len, clip.size) == (backbone.num_frames, backbone.img_size)
    assert clip.stride == {'sta_vit_k400': 4, 'sta_swin_k400': 2}.get(name)
    assert (clip.flip_ratio, config.train_dataloader.drop_last) == (0.5, False)


def test_views_that_show_a_corner_of_large_frames_are_named(tmp_path, capsys) -> None:
    (tmp_path / 'mine' / 'run').mkdir(parents=True)
    write_movie(tmp_path / 'mine' / 'run' / 'a.mp4', width=320, height=240)
    assert prepare('mine', config=ROOT / 'configs/sta_vit_motions.py') == 0
    assert '96 x 96 pixels of frames as they are, of 320 x 240' in capsys.readouterr().out
    assert prepare('mine', config=ROOT / 'configs/sta_vit_small.py', out='o') == 0
    assert 'as they are' not in capsys.readouterr().out


def test_left_and_right_are_not_mirrored(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', *(f'turn_{c}/{i}.mp4' for c in ('Left', 'up') for i in '12'))
    assert prepare('mine') == 0
    assert load_config('out/train_config.py').train_dataloader.dataset.pipeline[0].flip_ratio == 0
    assert 'clips are not mirrored' in capsys.readouterr().out


def test_files_of_an_earlier_run_do_not_stay(tmp_path) -> None:
    write_videos(tmp_path / 'mine', 'run/a.mp4', 'run/b.mp4')
    assert prepare('mine') == 0 and Path('out/train_config.py').exists()
    assert prepare('mine', '--force', '--val-share', '1') == 0
    left = {path.name for path in Path('out').iterdir()}
    assert left.isdisjoint({'train_config.py', 'train_list_videos.txt', 'val_list_videos.txt'})
    assert dataset().ann_file.endswith('/out/list_videos.txt')


def test_from_folders_to_a_trained_model(tmp_path, tiny, capsys) -> None:
    """What the tool says to type next trains, from an encoder, and evaluates what was trained."""
    for label in range(2):
        write_videos(tmp_path / 'mine' / f'class {label}', *(f'{i}.mp4' for i in range(5)))
    more = ('--pretrained', tiny.checkpoint, '--split', 'ordered')
    assert prepare('mine', *more, config=tiny.one_view) == 0
    train, test = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    shorter = 'train_cfg.max_epochs=1 train_dataloader.num_workers=0'.split()
    shorter += ['train_dataloader.persistent_workers=False']
    assert run_tool('train', train[3], '--cfg-options', *shorter) == 0
    assert 'begin anew: cls_head' in capsys.readouterr().out
    trained = test[4].replace('epoch_100', 'epoch_1')
    assert run_tool('test', test[3], trained, '--work-dir', 'results') == 0
    scores = np.load('results/scores.npz')
    assert scores['labels'].tolist() == [0, 1] and scores['scores'].shape[2] == 2
    assert [Path(name).name for name in scores['names']] == ['4.mp4', '4.mp4']


def test_files_that_are_left_out_are_named(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'mine', 'run/a.mp4', 'run/b.TS', 'run/c.m2ts', 'run/d.flv', 'run/e')
    for name in ('run/a.jpg', 'run/b.srt', '.DS_Store', 'run/._a.mp4'):
        (tmp_path / 'mine' / name).write_bytes(b'no video')
    assert prepare('mine') == 0
    names = ['run/a.mp4', 'run/b.TS', 'run/c.m2ts', 'run/d.flv', 'run/e']
    assert listed(Path('out/list_videos.txt')) == [(name, 0) for name in names]
    said = '2 files left out, since no suffix of a video is theirs (1 .jpg, 1 .srt), e.g. run/a.jpg'
    assert capsys.readouterr().out.splitlines()[1] == said


def test_labels_that_contradict_the_folders(refused, tmp_path) -> None:
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
    assert prepare('mine', out='unmapped') == 0
    assert '--map kinetics400 needs no training' in capsys.readouterr().out
    assert prepare('mine', '--map', 'kinetics400') == 0
    lines = [('Arm_Wrestling/b.mp4', 6), ('abseiling/c.mp4', 0)]
    assert listed(Path('out/list_videos.txt')) == lines
    assert (dataset().num_classes, dataset().classes) == (400, 'kinetics400')
    assert len(Path('out/classes.txt').read_text().splitlines()) == 400
    said = capsys.readouterr().out
    assert 'any checkpoint with the 400 classes of kinetics400' in said and '2 of them' in said


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
    said = capsys.readouterr().out
    assert '3 x l.csv names a video again' in said
    assert 'named by no annotation' not in said


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
        (('path,label', 'b.mp4,0'), (), ('none of the 1 videos', '--videos', 'e.g. b.mp4')),
        (('path,label', 'a.mp4,0'), ('--videos', 'nowhere'), ('nowhere does not exist',)),
        (('path,label', 'a.mp4,0'), ('--classes', 'no.txt'), ('class list no.txt',)),
        (('path,label', 'a.mp4,0'), ('--config', 'no.py'), ('config no.py does not exist',)),
    ],
)
def test_a_csv_that_cannot_be_used(refused, tmp_path, lines, more, said) -> None:
    write_videos(tmp_path, 'a.mp4')
    write_lines(tmp_path / 'l.csv', *lines)
    write_lines(tmp_path / 'c.txt', 'run', 'sit')
    more = more if '--config' in more else (*more, '--config', CONFIG)
    refused('prepare_custom', 'l.csv', '--out', 'out', *more, said=said)
    assert not Path('out').exists()


@pytest.mark.parametrize('content', [b'path,label\na\xff.mp4,0\n', b'\x00\x01\xfe\xff' * 9])
def test_a_csv_that_is_no_text(refused, tmp_path, content) -> None:
    (tmp_path / 'l.csv').write_bytes(content)
    arguments = ('l.csv', '--out', 'out', '--config', CONFIG)
    refused('prepare_custom', *arguments, said=('l.csv', 'UTF-8'))


@pytest.mark.parametrize(
    ('files', 'more', 'said'),
    [
        ((), (), ('0 folders and no videos', 'a folder for every class')),
        (('a.mp4',), (), ('0 folders and 1 video outside', 'a folder for every class')),
        (('run/a.txt.mp4', 'sit/'), (), ('mine/sit holds no video', '--classes')),
        (('train/run/a.mp4', 'val/run/b.mp4', 'sit/c.mp4'), (), ('are splits, but sit is not',)),
        (('train/a.mp4', 'val/b.mp4'), (), ('in each of them',)),
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
def test_folders_that_cannot_be_used(refused, tmp_path, files, more, said) -> None:
    (tmp_path / 'mine').mkdir()
    for name in files:
        (tmp_path / 'mine' / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith('/'):
            (tmp_path / 'mine' / name).mkdir()
        else:
            (tmp_path / 'mine' / name).write_bytes(b'')
    arguments = ('mine', '--out', 'out', '--config', CONFIG, *more)
    refused('prepare_custom', *arguments, said=said)


def test_a_missing_source_and_a_config_without_a_model(refused, tmp_path) -> None:
    refused('prepare_custom', 'gone', '--out', 'o', '--config', CONFIG, said=('gone', 'No such'))
    empty = write_lines(tmp_path / 'empty.py', 'a = 1')
    said = ('empty.py defines no model',)
    refused('prepare_custom', 'gone', '--out', 'o', '--config', empty, said=said)


def test_a_config_of_an_earlier_run_is_kept(refused, tmp_path) -> None:
    write_videos(tmp_path / 'mine', 'run/b.mp4')
    (tmp_path / 'out').mkdir()
    write_lines(tmp_path / 'out' / 'config.py', 'precious = 1')
    arguments = ('mine', '--out', 'out', '--config', CONFIG)
    refused('prepare_custom', *arguments, said=('out/config.py', '--force'))
    assert Path('out/config.py').read_text() == 'precious = 1\n'
    assert prepare('mine', '--force') == 0


def test_from_folders_to_an_accuracy(tmp_path, tiny, capsys) -> None:
    """What the tool says to type next works, also with a broken video among the good ones."""
    names = [f'class {label}' for label in range(7)]
    for label, name in enumerate(names):
        write_videos(tmp_path / 'mine' / name, 'first.mp4', f'no {label}.mp4')
    (tmp_path / 'mine' / names[2] / 'first.mp4').write_bytes(b'')
    assert prepare('mine', '--val-share', '1', config=tiny.one_view) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    assert command[:3] == ['next:', 'python', 'tools/test.py'] and command[-1] == 'CHECKPOINT'
    assert run_tool('test', command[3], tiny.checkpoint, '--work-dir', 'results') == 0
    scores = np.load('results/scores.npz')
    assert scores['labels'].tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert scores['names'][4] == str(tmp_path / 'mine' / 'class 2' / 'no 2.mp4')
    assert '13 videos' in capsys.readouterr().out
