"""Classes and pruners of an evaluation compared: worked by hand, written, refused."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from sta.datasets.annotations import read_class_names
from sta.evaluation import SummaryRow, mcnemar_p
from sta.report.folder import NOTHING

from .tiny import run_tool

# right: 6, 3 and 4 of 6; 'b' loses a video of class 0 and two of class 1, 'c' two of class 1
PREDICTED = [[0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1]]


def write_run(folder: Path, found: dict | None = None, *, num_classes: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / 'scores.npz',
        variants=np.array(['a', 'b', 'c']),
        scores=np.eye(num_classes, dtype=np.float32)[PREDICTED],
        labels=np.array([0, 0, 0, 1, 1, 1]),
        names=np.array([f'{i}.mp4' for i in range(6)]),
    )
    if found is not None:
        (folder / 'results.json').write_text(json.dumps(found))
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_run(tmp_path / 'run')


@pytest.fixture
def names(tmp_path) -> Path:
    path = tmp_path / 'names.txt'
    path.write_text('push\npull\n')
    return path


def run(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    capsys.readouterr()
    assert run_tool('compare_classes', *arguments) == 0
    return capsys.readouterr().out


def row(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()


def test_the_table_worked_by_hand(capsys, folder, names) -> None:
    text = run(capsys, folder, '--classes', names)
    assert 'Classes: before = a, after = b' in text
    assert row(text, 'push ') == ['3', '100.0', '66.7', '-33.3', '1', '0', '1.000', '1.000']
    assert row(text, 'pull ') == ['3', '100.0', '33.3', '-66.7', '2', '0', '0.500', '1.000']
    assert row(text, 'all classes') == ['6', '100.0', '50.0', '-50.0', '3', '0', '0.250', '-']
    assert row(text, 'pull -> push') == ['0', '2', '+2']
    assert row(text, 'push -> pull') == ['0', '1', '+1']


def test_the_files_it_names_are_there(capsys, folder) -> None:
    last = run(capsys, folder).splitlines()[-1]
    where, _, written = last.removeprefix('written to ').partition(': ')
    assert Path(where) == folder
    assert sorted(written.split(', ')) == sorted(
        [f'classes_a_vs_b.{kind}' for kind in ('csv', 'json', 'md', 'png', 'svg')]
        + [f'confusions_a_vs_b.{kind}' for kind in ('png', 'svg')]
    )
    assert all((folder / name).stat().st_size for name in written.split(', '))
    made = json.loads((folder / 'classes_a_vs_b.json').read_text())['environment']
    assert made == {
        'command': f'python tools/compare_classes.py {folder}',
        'scores': str(folder / 'scores.npz'),
        'classes': None,
    }


def test_variants_and_folder_as_asked(capsys, folder, names, tmp_path) -> None:
    out = tmp_path / 'new' / 'out'
    text = run(capsys, folder, '--variants', 'b', 'c', '--out', out, '--classes', names)
    assert row(text, 'push ')[1:4] == ['66.7', '100.0', '+33.3']
    assert sorted(path.name for path in folder.iterdir()) == ['scores.npz']
    with (out / 'classes_b_vs_c.csv').open() as file:
        assert [line['name'] for line in csv.DictReader(file)] == ['push', 'pull']


def test_only_so_many_by_number_where_nobody_names_them(capsys, folder) -> None:
    text = run(capsys, folder, '--top', '1')
    assert text.count(' -> ') == 2  # the head, and one confusion
    assert 'class 1 -> class 0' in text and row(text, 'class 1 ')[3] == '-66.7'


def test_classes_as_the_evaluation_recorded_them(capsys, tmp_path, names) -> None:
    recorded = {'environment': {'classes': str(names)}}
    text = run(capsys, write_run(tmp_path / 'run', recorded))
    assert row(text, 'pull ')[3] == '-66.7'


@pytest.mark.parametrize('recorded', ['gone.txt', 'ssv2'])
def test_a_recorded_list_that_cannot_be_used_is_no_mistake(capsys, tmp_path, recorded) -> None:
    folder = write_run(tmp_path / 'run', {'environment': {'classes': recorded}})
    capsys.readouterr()
    assert run_tool('compare_classes', folder) == 0
    said = capsys.readouterr()
    assert row(said.out, 'class 1 ')[3] == '-66.7'
    assert said.err.startswith('classes are shown by number: ') and recorded in said.err


def test_official_names(capsys, tmp_path) -> None:
    folder = write_run(tmp_path / 'run', num_classes=400)
    text = run(capsys, folder, '--classes', 'kinetics400')
    assert row(text, read_class_names('kinetics400')[1])[3] == '-66.7'
    assert 'Left out: 398 classes without videos.' in ' '.join(text.split())


MISTAKES = [
    pytest.param(['--variants', 'a', 'sta-9'], ("'sta-9'", 'a, b, c'), id='unknown variant'),
    pytest.param(['--variants', 'b', 'b'], ("'b'", 'itself'), id='the same twice'),
    pytest.param(['--classes', 'ssv2'], ('ssv2', '174 names', 'scores 2'), id='another length'),
    pytest.param(['--classes', 'no.txt'], ('no.txt', 'cannot be read'), id='no list'),
    pytest.param(['--top', '0'], ('--top', 'at least 1', 'got 0'), id='none'),
]


@pytest.mark.parametrize(('arguments', 'said'), MISTAKES)
def test_mistakes_end_in_one_line(refused, folder, arguments, said) -> None:
    refused('compare_classes', folder, *arguments, said=said)
    assert sorted(path.name for path in folder.iterdir()) == ['scores.npz']


def test_folders_and_files_that_will_not_do(refused, folder, tmp_path) -> None:
    refused('compare_classes', tmp_path, said=(str(tmp_path), 'no scores.npz'))
    refused('compare_classes', tmp_path / 'x', said=('not a folder',))
    path = folder / 'scores.npz'
    refused('compare_classes', folder, '--out', path, said=(f'--out {path} cannot be written',))
    found = dict(np.load(path))
    found['variants'], found['scores'] = found['variants'][:1], found['scores'][:1]
    np.savez(path, **found)
    refused('compare_classes', folder, said=('two variants are needed', 'a alone'))
    path.write_bytes(path.read_bytes()[:100])
    refused('compare_classes', folder, said=('scores.npz cannot be read',))
    # Objects are not unpickled.
    np.savez(path, variants=np.array([{'an': 'object'}], dtype=object))
    refused('compare_classes', folder, said=('scores.npz cannot be read', 'allow_pickle=False'))


NAMES = ('unpruned', 'sta-4', 'sta-8', 'random[seed=0]-5', 'random[seed=1]-5', 'tome-7')
RIGHT = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 0, 1, 1],
        [1, 1, 1, 1, 1, 0, 0, 1],
    ]
)


def result_of(name: str, pruner: str, gflops: float, *averages: str) -> dict:
    found = SummaryRow(name, pruner, 9, (9,), gflops, gflops, 0.0, 50.0, 50.0, None, 1.0)
    return {**dataclasses.asdict(found), 'averages': averages}


ROWS = [
    result_of('unpruned', '', 10.0),
    result_of('sta-4', 'sta', 8.0),
    result_of('sta-8', 'sta', 6.0),
    result_of('random-5 (2 seeds)', 'random', 7.5, *NAMES[3:5]),
    result_of(NAMES[3], 'random', 7.5),
    result_of(NAMES[4], 'random', 7.5),
    result_of('tome-7', 'tome', 6.2),
]


def write(folder: Path, rows: object = ROWS) -> Path:
    folder.mkdir()
    scores = np.stack([1 - RIGHT, RIGHT], axis=-1).astype(np.float32)
    labels, videos = np.ones(8, np.int64), np.array([f'{i}.mp4' for i in range(8)])
    np.savez(
        folder / 'scores.npz', variants=np.array(NAMES), scores=scores, labels=labels, names=videos
    )
    (folder / 'results.json').write_text(json.dumps({**NOTHING, 'rows': rows}))
    return folder


def test_every_variant_meets_the_one_of_nearest_cost(tmp_path, capsys) -> None:
    folder, out = write(tmp_path / 'run'), tmp_path / 'out.csv'
    assert run_tool('compare_pruners', folder, '--csv', out) == 0
    said = capsys.readouterr().out
    with out.open() as file:
        drawn, tome = csv.DictReader(file)
    assert (drawn['name'], drawn['against']) == ('random-5 (2 seeds)', 'sta-4')
    assert float(drawn['points']) == pytest.approx(100 * (4.0 - 6) / 8) and drawn['p_value'] == ''
    assert (tome['name'], tome['against'], float(tome['gflops_against'])) == (
        'tome-7',
        'sta-8',
        6.0,
    )
    assert float(tome['points']) == pytest.approx(100 * 2 / 8)
    assert float(tome['p_value']) == mcnemar_p(0, 2) == 0.5
    assert float(tome['low']) == 0.0 < 25.0 < float(tome['high'])
    assert '+25.00' in said and '-25.00' in said and 'the same 8 videos' in ' '.join(said.split())


def test_two_videos_are_too_few(tmp_path, capsys) -> None:
    folder = write(tmp_path / 'run')
    with np.load(folder / 'scores.npz') as file:
        arrays = {name: file[name] for name in file}
    arrays['scores'] = arrays['scores'][:, :2]
    arrays |= {name: arrays[name][:2] for name in ('labels', 'names')}
    np.savez(folder / 'scores.npz', **arrays)
    assert run_tool('compare_pruners', folder) == 0
    said = capsys.readouterr().out
    assert said.count('too few  too few') == 2 and '..' not in said


@pytest.mark.parametrize(
    ('rows', 'options', 'words'),
    [
        (None, ('--with', 'rlt'), ("no variant of 'rlt'", 'sta, random, tome')),
        (None, ('--with', 'random'), ('several seeds',)),
        ([], (), ('must hold the rows',)),
        ([{'name': 'sta-4'}], (), ("no 'pruner'",)),
        (ROWS[:3], (), ("nothing but 'sta'",)),
        ([*ROWS, result_of('rlt-1', 'rlt', 5.0)], (), ("no scores of 'rlt-1'",)),
    ],
)
def test_results_that_cannot_be_compared(tmp_path, refused, rows, options, words) -> None:
    folder = write(tmp_path / 'run', ROWS if rows is None else rows)
    refused('compare_pruners', folder, *options, said=words)


def test_they_read_what_the_evaluation_writes(tiny, tmp_path, capsys) -> None:
    arguments = ('--schedules', '0', '2', '--pruners', 'sta', 'random', 'tome', '--seeds', '3')
    work = tmp_path / 'run'
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *arguments, '--work-dir', work) == 0
    capsys.readouterr()
    assert run_tool('compare_pruners', work) == 0
    said = capsys.readouterr().out
    assert 'random-2 (3 seeds)' in said and 'tome-2' in said and 'sta-2' in said
    total = row(run(capsys, work, '--variants', 'unpruned', 'tome-2'), 'all classes')
    rows = {line['name']: line for line in json.loads((work / 'results.json').read_text())['rows']}
    assert float(total[1]) == pytest.approx(rows['unpruned']['top1_percent'], abs=0.06)
    assert float(total[3]) == pytest.approx(rows['tome-2']['top1_change'], abs=0.06)
