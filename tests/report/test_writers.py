"""What is written reads back as what was found."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from sta.atomic import replacing
from sta.environment import commit_of
from sta.evaluation import EvaluationResult, SummaryRow, summarise
from sta.pruning import PruningSchedule, Variant
from sta.report import read_scores, write_results
from sta.report.columns import COLUMNS, footer

from .example import result, with_seeds

ODD_NAME = 'sta[é|"x", y]-48,96'


def write(found: EvaluationResult, folder: Path) -> dict[str, Path]:
    return write_results(
        found, folder, command='python tools/test.py c.py w.pth', config='c.py', checkpoint='w.pth'
    )


def reject(constant: str) -> None:
    raise AssertionError(f'{constant} is no JSON')


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding='utf-8'), parse_constant=reject)


def odd() -> EvaluationResult:
    """A name that needs quoting in every format, and a schedule that is an object."""
    found = result()
    schedule = PruningSchedule.from_drop(48, depth=12, num_frames_tokens=8)
    variant = Variant(ODD_NAME, {'type': 'STAPruner', 'seed': np.int64(3)}, schedule, 'sta')
    second = dataclasses.replace(found.variants[1], variant=variant)
    return dataclasses.replace(found, variants=(found.variants[0], second))


def test_returns_the_paths_it_wrote_and_leaves_nothing_else(tmp_path) -> None:
    paths = write(result(), tmp_path / 'new' / 'folder')
    assert list(paths) == ['results.json', 'results.csv', 'results.md', 'scores.npz']
    assert sorted(paths) == sorted(os.listdir(tmp_path / 'new' / 'folder'))
    assert all(path.stat().st_size > 0 for path in paths.values())


@pytest.mark.parametrize('unpruned', [True, False])
def test_json_rows_have_full_precision(tmp_path, unpruned) -> None:
    found = result(unpruned=unpruned)
    rows = read_json(write(found, tmp_path)['results.json'])['rows']
    for row in rows:
        for name in ('tokens_after_stages', 'averages'):
            row[name] = tuple(row[name])
    assert [SummaryRow(**row) for row in rows] == summarise(found)


def test_json_says_how_the_numbers_were_made(tmp_path) -> None:
    made = read_json(write(result(), tmp_path)['results.json'])['environment']
    versions = made.pop('versions')
    assert {'sta', 'python', 'torch', 'numpy', 'mmaction2', 'mmengine', 'decord'} <= set(versions)
    assert versions['numpy'] == np.__version__
    age = datetime.now(timezone.utc) - datetime.fromisoformat(made.pop('time_utc'))
    assert made.pop('commit') == commit_of()
    assert timedelta(seconds=-2) < age < timedelta(minutes=2)
    assert made == {
        'command': 'python tools/test.py c.py w.pth',
        'config': 'c.py',
        'checkpoint': 'w.pth',
        'annotations': None,
        'fingerprint': {},
        'num_videos': 300,
        'classes': None,
        'num_listed': 300,
        'decoded_by': {},
        'resumed': 0,
        'views_per_video': 15,
        'precision': 'fp32',
        'hardware': 'Example CPU @ 2.00 GHz, 2 cores',
        'wall_s': 123.456,
        'wait_share': 0.0789,
    }


def test_the_data_are_named_where_they_are_known(tmp_path) -> None:
    digests = {'weights': 'aa', 'videos': '0123456789abcdef'}
    paths = write_results(
        result(),
        tmp_path,
        command='c',
        config='c.py',
        checkpoint='w',
        annotations='data/val.txt',
        fingerprint=digests,
    )
    made = read_json(paths['results.json'])['environment']
    assert (made['annotations'], made['fingerprint']) == ('data/val.txt', digests)
    text = paths['results.md'].read_text(encoding='utf-8')
    said = 'Data: 300 of 300 videos of `data/val.txt`, fingerprint 0123456789abcdef.'
    assert said in text
    assert f'commit {commit_of() or "unknown"};' in text
    assert 'Data:' not in write(result(), tmp_path)['results.md'].read_text(encoding='utf-8')


def test_json_holds_the_settings_of_every_variant(tmp_path) -> None:
    variant = read_json(write(odd(), tmp_path)['results.json'])['variants'][1]
    assert variant['pruner'] == {'type': 'STAPruner', 'seed': 3}
    assert variant['schedule']['stages'][1] == {
        'after_block': 4,
        'num_chunks': 4,
        'num_drop': 48,
        'backward': True,
    }
    assert (variant['num_tokens'], variant['num_parameters']) == (1568, 86_534_800)


def test_what_is_not_a_number_is_null_and_empty(tmp_path) -> None:
    found = result()
    first = dataclasses.replace(found.variants[0], clips_per_s=float('inf'))
    found = dataclasses.replace(found, variants=(first,), wait_share=float('nan'))
    paths = write(found, tmp_path)
    read = read_json(paths['results.json'])
    assert read['rows'][0]['clips_per_s'] is None
    assert read['environment']['wait_share'] is None
    with paths['results.csv'].open(newline='', encoding='utf-8') as file:
        assert [line['clips_per_s'] for line in csv.DictReader(file)] == ['']


def test_csv_agrees_with_the_rows(tmp_path) -> None:
    path = write(result(), tmp_path)['results.csv']
    with path.open(newline='', encoding='utf-8') as file:
        read = list(csv.DictReader(file))
    rows = summarise(result())
    assert len(read) == len(rows)
    for line, row in zip(read, rows):
        values = dataclasses.asdict(row)
        assert list(line) == list(values)
        assert (line.pop('name'), line.pop('pruner')) == (row.name, row.pruner)
        stages = line.pop('tokens_after_stages').split()
        assert tuple(map(int, stages)) == row.tokens_after_stages
        assert line.pop('label') == row.label
        assert (line.pop('averages'), line.pop('top1_spread')) == ('', '')
        assert line.pop('cost_is_average') == 'False'
        assert all(float(text) == values[name] for name, text in line.items())


def test_csv_leaves_unknown_changes_empty(tmp_path) -> None:
    path = write(result(unpruned=False), tmp_path)['results.csv']
    with path.open(newline='', encoding='utf-8') as file:
        for line in csv.DictReader(file):
            assert (line['reduction_percent'], line['top1_change']) == ('', '')


def test_markdown_shows_what_the_screen_shows(tmp_path) -> None:
    text = write(result(), tmp_path)['results.md'].read_text(encoding='utf-8')
    lines = text.splitlines()
    rows = summarise(result())
    table = [
        [cell.strip() for cell in line.strip('|').split('|')] for line in lines[: 2 + len(rows)]
    ]
    assert table[0] == ['variant', *(column.heading for column in COLUMNS)]
    assert table[1] == ['---', *['---:'] * len(COLUMNS)]
    shown = zip([row.name for row in rows], *(column.cells(rows) for column in COLUMNS))
    assert table[2:] == [list(cells) for cells in shown]
    assert footer(result(), rows) in text
    assert 'python tools/test.py c.py w.pth' in text
    assert 'Config `c.py`, checkpoint `w.pth`' in text


def test_odd_names_survive_every_format(tmp_path) -> None:
    paths = write(odd(), tmp_path)
    assert read_json(paths['results.json'])['rows'][1]['name'] == ODD_NAME
    with paths['results.csv'].open(newline='', encoding='utf-8') as file:
        assert list(csv.DictReader(file))[1]['name'] == ODD_NAME
    assert ODD_NAME.replace('|', '\\|') in paths['results.md'].read_text(encoding='utf-8')
    assert read_scores(paths['scores.npz']).variants == ('unpruned', ODD_NAME)


def test_scores_come_back_bit_for_bit(tmp_path) -> None:
    found = result(num_videos=7)
    names = ('ünï.mp4', 'スタ.mp4', *(f'{"long" * 50}{i}.mp4' for i in range(5)))
    found = dataclasses.replace(found, names=names)
    read = read_scores(write(found, tmp_path)['scores.npz'])
    assert read.names == names
    assert read.variants == tuple(v.variant.name for v in found.variants)
    assert read.scores.dtype == np.float32
    np.testing.assert_array_equal(read.scores, np.stack([v.scores for v in found.variants]))
    assert read.labels.dtype == np.int64
    np.testing.assert_array_equal(read.labels, found.labels)


def test_scores_of_a_stranger_are_not_unpickled(tmp_path) -> None:
    path = tmp_path / 'scores.npz'
    np.savez(path, variants=np.array([{'an': 'object'}], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle'):
        read_scores(path)


def test_an_interrupted_write_keeps_the_old_file(tmp_path) -> None:
    path = tmp_path / 'results.json'
    path.write_text('old')
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text('half of the n')
        raise KeyboardInterrupt
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['results.json']


def test_the_new_file_replaces_the_old_one(tmp_path) -> None:
    path = tmp_path / 'results.json'
    path.write_text('old')
    with replacing(path) as temporary:
        assert temporary.parent == path.parent  # else it could not be moved in one step
        temporary.write_text('new')
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['results.json']


def test_every_draw_and_their_mean_are_in_csv_and_json(tmp_path) -> None:
    paths = write(with_seeds(), tmp_path)
    names = ['unpruned', 'random-32 (2 seeds)', 'random[seed=0]-32', 'random[seed=1]-32']
    with paths['results.csv'].open(newline='', encoding='utf-8') as file:
        lines = list(csv.DictReader(file))
    rows = read_json(paths['results.json'])['rows']
    assert [line['name'] for line in lines] == [row['name'] for row in rows] == names
    assert lines[1]['averages'] == ' '.join(names[2:])
    assert rows[1]['averages'] == names[2:] and rows[2]['averages'] == []
    assert float(lines[1]['top1_spread']) == summarise(with_seeds())[1].top1_spread
    shown = paths['results.md'].read_text(encoding='utf-8')
    assert names[1] in shown and names[2] not in shown
    assert read_scores(paths['scores.npz']).variants == (names[0], *names[2:])
