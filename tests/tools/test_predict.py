"""What a newcomer tries first: classes of their own clip, with and without pruning."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sta.checkpoints import load_checkpoint
from sta.datasets.decoding import open_video
from sta.report import read_scores

from .tiny import NUM_CLASSES, ROOT, forget_loggers, run_tool

CLASSES = [f'class of {i}' for i in range(NUM_CLASSES)]


@pytest.fixture
def classes(tmp_path) -> Path:
    path = tmp_path / 'classes.txt'
    path.write_text('\n'.join(CLASSES))
    return path


@pytest.fixture
def video(tiny) -> Path:
    return tiny.folder / 'videos' / tiny.names[2]


def test_the_classes_are_those_of_an_evaluation(tiny, classes, tmp_path, capsys) -> None:
    """Every guess, of every video and variant, with its score; on the screen and in both files."""
    given = (tiny.six_views, tiny.checkpoint)
    schedules = ('--schedules', '0', '3', '--pruners', 'sta', 'random')
    assert run_tool('test', *given, *schedules, '--work-dir', tmp_path / 'run') == 0
    evaluated = read_scores(tmp_path / 'run/scores.npz')
    capsys.readouterr()
    found = {}
    for suffix in ('csv', 'json'):
        out = tmp_path / f'guesses.{suffix}'
        more = (*schedules, '--classes', classes, '--top', '3', '--out', out)
        assert run_tool('predict', *given, tiny.folder / 'videos', *more) == 0
        found[suffix] = out.read_text()
    rows = json.loads(found['json'])
    assert len(rows) == len(tiny.names) * 3 * 3
    for row, line in zip(rows, csv.DictReader(found['csv'].splitlines()), strict=True):
        assert {key: str(value) for key, value in row.items()} == line
    for row in rows:
        video = [Path(name).name for name in evaluated.names].index(Path(row['video']).name)
        scores = evaluated.scores[evaluated.variants.index(row['variant']), video]
        assert row['label'] == np.argsort(-scores, kind='stable')[row['rank'] - 1]
        assert row['score'] == pytest.approx(scores[row['label']], abs=1e-5)
        assert row['name'] == CLASSES[row['label']]
    said = ' '.join(capsys.readouterr().out.split())  # long paths are wrapped at blanks
    for name in tiny.names:
        assert f'videos/{name}' in said
    first = rows[0]
    assert f'{first["name"]} {100 * first["score"]:.1f} %' in said
    assert 'unpruned' in said and 'sta-3' in said and 'random-3' in said


def test_one_video_and_numbers_for_names(tiny, video, capsys) -> None:
    assert run_tool('predict', tiny.one_view, tiny.checkpoint, video, '--schedules', '0') == 0
    said = capsys.readouterr().out
    assert said.count('class ') == 5
    assert [line[0] for line in said.splitlines()[-5:]] == list('12345')


def test_the_names_of_the_config(tiny, video, classes, child, capsys) -> None:
    config = child(f'test_dataloader = dict(dataset=dict(classes={str(classes)!r}))')
    assert run_tool('predict', config, tiny.checkpoint, video) == 0
    assert 'class of ' in capsys.readouterr().out


def test_broken_videos_of_a_folder_are_left_out(tiny, video, tmp_path, capsys) -> None:
    folder = tmp_path / 'mine'
    (folder / 'deep').mkdir(parents=True)
    shutil.copy(video, folder / 'deep/GOOD.MP4')
    (folder / 'empty.mp4').touch()
    (folder / 'notes.txt').write_text('no video')
    assert run_tool('predict', tiny.one_view, tiny.checkpoint, folder) == 0
    said = capsys.readouterr()
    assert said.out.count('unpruned') == 1 and 'GOOD.MP4' in said.out
    assert said.err == (
        f'note: {folder}: 1 file left out, since no suffix of a video is theirs (1 .txt), e.g. '
        f'notes.txt\nleft out: {folder}/empty.mp4: it is empty (0 bytes)\n'
    )


def test_names_of_every_kind(tiny, video, tmp_path, capsys) -> None:
    names = ['-a "b", #c.mp4', 'größe.mp4', 'two\nlines.mp4', os.fsdecode(b'caf\xe9.mp4')]
    (tmp_path / 'mine').mkdir()
    for name in names:
        shutil.copy(video, tmp_path / 'mine' / name)
    given = (tiny.one_view, tiny.checkpoint, 'mine', '--schedules', '0', '--top', '1')
    assert run_tool('predict', *given, '--out', 'out.csv') == 0
    said = ['-a "b", #c.mp4', r'caf\udce9.mp4', 'größe.mp4', r'two\nlines.mp4']
    with open('out.csv', encoding='utf-8', newline='') as file:
        assert [row['video'] for row in csv.DictReader(file)] == [f'mine/{name}' for name in said]
    shown = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in shown if '.mp4' in line] == [f'mine/{name}' for name in said]


def test_workers_do_not_matter(tiny, tmp_path) -> None:
    found = []
    for workers in (0, 2):
        out = tmp_path / f'{workers}.json'
        options = ('--cfg-options', f'test_dataloader.num_workers={workers}', '--out', out)
        given = (tiny.one_view, tiny.checkpoint, tiny.folder / 'videos')
        assert run_tool('predict', *given, *options) == 0
        found.append(json.loads(out.read_text()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ('videos', 'more', 'said'),
    [
        ('nowhere.mp4', (), 'nowhere.mp4 does not exist: give a video or a folder of videos'),
        ('.', (), 'holds no video (.avi, '),
        ('empty.mp4', (), 'empty.mp4 cannot be used: it is empty (0 bytes)'),
        ('VIDEO', ('--top', '0'), '--top must be at least 1, got 0'),
        ('VIDEO', ('--out', 'a.txt'), '--out takes a .csv or .json file, got a.txt'),
        ('VIDEO', ('--classes', 'ssv2'), 'class list ssv2 has 174 names, the model 7'),
        ('VIDEO', ('--classes', 'none.txt'), 'class list none.txt cannot be read'),
        ('VIDEO', ('--schedules', '99'), '99'),
        ('VIDEO', ('--pruners', 'best'), "unknown pruner 'best'"),
    ],
)
def test_what_cannot_be(refused, tiny, video, tmp_path, videos, more, said) -> None:
    if videos == 'empty.mp4':
        (tmp_path / videos).touch()
    given = (tiny.one_view, tiny.checkpoint, video if videos == 'VIDEO' else videos)
    refused('predict', *given, *more, said=(said,))


def test_a_config_without_data(refused, tiny, video, tmp_path) -> None:
    (tmp_path / 'bare.py').write_text('model = dict()')
    refused('predict', 'bare.py', tiny.checkpoint, video, said=('bare.py defines no test_cfg',))


@pytest.mark.parametrize('given', ['video', 'array'])
def test_the_inferencer_of_mmaction2_says_the_same(tmp_path, monkeypatch, given) -> None:
    """The embedded model on an embedded video, from the file and from decoded frames."""
    from mmaction.apis import MMAction2Inferencer
    from mmaction.visualization import ActionVisualizer

    monkeypatch.chdir(ROOT)
    config, names = 'configs/sta_vit_motions.py', 'data/motions/classes.txt'
    weights = 'checkpoints/sta_vit_motions.safetensors'
    video, out = 'data/motions/val/approaching_000004.mp4', tmp_path / 'guesses.json'
    more = ('--schedules', '0', '8', '--top', '10', '--out', out)
    assert run_tool('predict', config, weights, video, *more) == 0
    forget_loggers()
    inferencer = MMAction2Inferencer(rec=config, label_file=names, input_format=given)
    inner = inferencer.actionrecog_inferencer
    load_checkpoint(inner.model, weights)
    assert isinstance(inner.visualizer, ActionVisualizer)
    assert inner.visualizer.dataset_meta['classes'] == Path(names).read_text().split()
    frames = video
    if given == 'array':
        reader = open_video(video)
        frames = reader.frames(range(len(reader)))
    for schedule, variant in ((0, 'unpruned'), (8, 'sta-8')):
        inner.model.backbone.set_schedule(schedule)
        [scores] = inferencer(frames)['predictions'][0]['rec_scores']
        guesses = [row for row in json.loads(out.read_text()) if row['variant'] == variant]
        assert len(guesses) == len(scores) == 10
        for row in guesses:
            assert scores[row['label']] == pytest.approx(row['score'], abs=1e-5)


def test_the_inferencer_takes_all_views_of_a_config(tiny, tmp_path) -> None:
    """Two clips and three crops, whose scores are averaged as tools/predict.py averages them."""
    from mmaction.apis import MMAction2Inferencer

    video, out = tiny.folder / 'videos' / tiny.names[1], tmp_path / 'guesses.json'
    more = ('--schedules', '0', '--top', '7', '--out', out)
    assert run_tool('predict', tiny.six_views, tiny.checkpoint, video, *more) == 0
    forget_loggers()
    inferencer = MMAction2Inferencer(rec=str(tiny.six_views))
    load_checkpoint(inferencer.actionrecog_inferencer.model, tiny.checkpoint)
    [scores] = inferencer(str(video))['predictions'][0]['rec_scores']
    for row in json.loads(out.read_text()):
        assert scores[row['label']] == pytest.approx(row['score'], abs=1e-5)
