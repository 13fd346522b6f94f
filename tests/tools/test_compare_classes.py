"""The command line that compares classes: what it says, what it writes, how it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sta.datasets.annotations import read_class_names

from .tiny import Tiny, run_tool

Refused = Callable[..., str]
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
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / 'run')


@pytest.fixture
def names(tmp_path: Path) -> Path:
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


def test_the_table_worked_by_hand(capsys, folder: Path, names: Path) -> None:
    text = run(capsys, folder, '--classes', names)
    assert 'Classes: before = a, after = b' in text
    assert row(text, 'push ') == ['3', '100.0', '66.7', '-33.3', '1', '0', '1.000', '1.000']
    assert row(text, 'pull ') == ['3', '100.0', '33.3', '-66.7', '2', '0', '0.500', '1.000']
    assert row(text, 'all classes') == ['6', '100.0', '50.0', '-50.0', '3', '0', '0.250', '-']
    assert row(text, 'pull -> push') == ['0', '2', '+2']
    assert row(text, 'push -> pull') == ['0', '1', '+1']


def test_the_files_it_names_are_there(capsys, folder: Path) -> None:
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


def test_variants_and_folder_as_asked(capsys, folder: Path, names: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'out'
    text = run(capsys, folder, '--variants', 'b', 'c', '--out', out, '--classes', names)
    assert row(text, 'push ')[1:4] == ['66.7', '100.0', '+33.3']
    assert sorted(path.name for path in folder.iterdir()) == ['scores.npz']
    with (out / 'classes_b_vs_c.csv').open() as file:
        assert [line['name'] for line in csv.DictReader(file)] == ['push', 'pull']


def test_only_so_many(capsys, tmp_path: Path) -> None:
    folder = write_run(tmp_path / 'run', num_classes=2)
    text = run(capsys, folder, '--top', '1')
    assert text.count(' -> ') == 2  # the head, and one confusion
    assert 'class 1 -> class 0' in text


def test_classes_are_numbers_where_nobody_names_them(capsys, folder: Path) -> None:
    assert row(run(capsys, folder), 'class 1 ')[3] == '-66.7'


def test_classes_as_the_evaluation_recorded_them(capsys, tmp_path: Path, names: Path) -> None:
    recorded = {'environment': {'classes': str(names)}}
    text = run(capsys, write_run(tmp_path / 'run', recorded))
    assert row(text, 'pull ')[3] == '-66.7'


@pytest.mark.parametrize('recorded', ['gone.txt', 'ssv2'])
def test_a_recorded_list_that_cannot_be_used_is_no_mistake(
    capsys, tmp_path: Path, recorded: str
) -> None:
    folder = write_run(tmp_path / 'run', {'environment': {'classes': recorded}})
    capsys.readouterr()
    assert run_tool('compare_classes', folder) == 0
    said = capsys.readouterr()
    assert row(said.out, 'class 1 ')[3] == '-66.7'
    assert said.err.startswith('classes are shown by number: ') and recorded in said.err


def test_official_names(capsys, tmp_path: Path) -> None:
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
def test_mistakes_end_in_one_line(
    refused: Refused, folder: Path, arguments: list[str], said: tuple[str, ...]
) -> None:
    refused('compare_classes', folder, *arguments, said=said)
    assert sorted(path.name for path in folder.iterdir()) == ['scores.npz']


def test_folders_and_files_that_will_not_do(refused: Refused, folder: Path, tmp_path: Path) -> None:
    refused('compare_classes', tmp_path, said=(str(tmp_path), 'no scores.npz'))
    refused('compare_classes', tmp_path / 'x', said=('not a folder',))
    path = folder / 'scores.npz'
    refused('compare_classes', folder, '--out', path, said=(f'--out {path} cannot be written',))
    path.write_bytes(path.read_bytes()[:100])
    refused('compare_classes', folder, said=('scores.npz cannot be read',))


def test_objects_are_not_unpickled(refused: Refused, folder: Path) -> None:
    np.savez(folder / 'scores.npz', variants=np.array([{'an': 'object'}], dtype=object))
    refused('compare_classes', folder, said=('scores.npz cannot be read', 'allow_pickle=False'))


def test_one_variant_is_not_enough(refused: Refused, folder: Path) -> None:
    found = dict(np.load(folder / 'scores.npz'))
    found['variants'], found['scores'] = found['variants'][:1], found['scores'][:1]
    np.savez(folder / 'scores.npz', **found)
    refused('compare_classes', folder, said=('two variants are needed', 'a alone'))


def test_it_reads_what_the_evaluation_writes(capsys, tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    arguments = ('--pruners', 'random', '--work-dir', folder)
    assert run_tool('test', tiny.one_view, tiny.checkpoint, *arguments) == 0
    text = run(capsys, folder, '--variants', 'unpruned', 'random-4')
    rows = {
        line['name']: line for line in json.loads((folder / 'results.json').read_text())['rows']
    }
    total = row(text, 'all classes')
    assert float(total[1]) == pytest.approx(rows['unpruned']['top1_percent'], abs=0.06)
    assert float(total[3]) == pytest.approx(rows['random-4']['top1_change'], abs=0.06)
