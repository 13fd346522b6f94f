"""What an evaluation left is what was found, and is read back whole or refused with the reason."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sta.environment import commit_of
from sta.errors import DataError
from sta.evaluation import EvaluationResult, LeftOut, SummaryRow, summarise
from sta.pruning import PruningSchedule, Variant
from sta.report import (
    Evaluation,
    load,
    print_evaluation,
    read_scores,
    write_evaluation,
    write_results,
)
from sta.report import folder as folder_module
from sta.report.folder import choose_pair
from sta.report.page import write_page

from .example import evaluated, result, with_seeds

ODD_NAME = 'sta[é|"x", y]-48,96'
NAN = float('nan')
SHARE = summarise(result())[0].top1_percent / 100
ERROR = 100 * (SHARE * (1 - SHARE) / 300) ** 0.5


def write(found: EvaluationResult, folder: Path, **facts: Any) -> dict[str, Path]:
    return {path.name: path for path in write_results(evaluated(found, **facts), folder)}


def read_run(folder: Path) -> Evaluation:
    """Read for statistics, which scores are enough for."""
    found = load(folder, needs_results=False)
    assert found.scores
    return found


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
    names = [field.name for field in dataclasses.fields(SummaryRow)]
    assert [SummaryRow(**{name: row[name] for name in names}) for row in rows] == summarise(found)


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
    paths = write(result(), tmp_path, annotations='data/val.txt', fingerprint=digests)
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
        line = {name: line[name] for name in values}  # without what follows from these
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
    found = evaluated(result())
    text = write(result(), tmp_path)['results.md'].read_text(encoding='utf-8')
    assert text.splitlines()[: 2 + len(found.rows)] == found.table.markdown()
    assert found.note in text
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


def test_footer_says_everything_needed_to_use_the_numbers() -> None:
    text = evaluated(result()).note
    for part in (
        '300 videos x 15 views',
        '1 GFLOP = 1e9 multiply-accumulates',
        'paired bootstrap and exact McNemar test',
        f'one top-1 of 300 videos has a standard error of {ERROR:.2f} points',
        'views per second of the model alone, decoding apart',
        'fp32 on Example CPU @ 2.00 GHz, 2 cores',
        '123 s in all',
        '8 % of it waiting for decoding',
    ):
        assert part in text
    assert text.isascii()


def test_where_all_are_right_the_footer_says_what_that_is_worth() -> None:
    found = result(num_videos=40)
    rows = [dataclasses.replace(row, top1_percent=100.0) for row in summarise(found)]
    text = folder_module.unpaired(rows)
    assert 'one top-1 of 40 videos, all right, may be off by 3 / n = 7.50 points' in text


def test_savings_are_shown_where_no_pruning_was_not_evaluated() -> None:
    found = dataclasses.replace(result(unpruned=False), unpruned_gflops=180.49)
    read = evaluated(found)
    expected = [f'{100 * (1 - row.gflops_per_view / 180.49):.1f}' for row in read.rows]
    assert [line[2] for line in read.table.lines()] == expected
    assert 'no pruning, which was counted and not evaluated' in read.note


def test_footer_without_a_clock() -> None:
    found = dataclasses.replace(result(num_videos=1), views=1, wait_share=NAN)
    text = evaluated(found).note
    assert text.startswith('1 video x 1 view.')
    assert 'n/a of it waiting' in text


def test_an_evaluation_is_summarised_once(tmp_path, monkeypatch) -> None:
    """A bootstrap of 20,000 resamples per variant, for screen, files, plots and page together."""
    counted = []

    def summarised(found: EvaluationResult) -> list[SummaryRow]:
        counted.append(found)
        return summarise(found)

    monkeypatch.setattr(folder_module, 'summarise', summarised)
    found = evaluated(result(num_videos=20, drops=(32,)))
    print_evaluation(found)
    write_evaluation(found, tmp_path)
    write_page(found, tmp_path)
    assert len(counted) == 1
    load(tmp_path)
    assert len(counted) == 1


def test_what_was_made_and_what_is_loaded_are_the_same(tmp_path) -> None:
    """So the page of an evaluation is the same, drawn at once or later."""
    left_out = (LeftOut('a.mp4', 3, 'it is empty'),)
    found = dataclasses.replace(odd(), left_out=left_out, wait_share=NAN)
    made = evaluated(found)
    write_evaluation(made, tmp_path)
    read = load(tmp_path)
    assert list(read.rows) == summarise(found) and read.left_out == left_out
    for name in ('rows', 'settings', 'facts', 'note', 'left_out', 'not_finite', 'class_names'):
        assert getattr(read, name) == getattr(made, name)
    for ours, theirs in zip(read.scores, made.scores, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (read.title, read.unpruned, read.class_list) == ('c', 'unpruned', None)


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Three variants, four videos, two classes; 2, 1 and 3 right."""
    good = {
        'variants': np.array(['whole', 'b', 'c']),
        'scores': np.eye(2, dtype=np.float32)[[[0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 0]]],
        'labels': np.array([0, 0, 0, 0]),
        'names': np.array(['1.mp4', '2.mp4', '3.mp4', '4.mp4']),
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def save(folder: Path, **changes: Any) -> Path:
    np.savez_compressed(folder / 'scores.npz', **arrays(**changes))
    return folder


def test_what_results_json_adds(tmp_path) -> None:
    """Which variant drops nothing, and where the names of the classes stand."""
    found = result(drops=(32,))
    write(dataclasses.replace(found, variants=found.variants[::-1]), tmp_path)
    text = (tmp_path / 'results.json').read_text()
    read = read_run(tmp_path)
    assert (read.unpruned, read.class_list) == ('unpruned', None)
    for old, new, expected in (
        ('"name": "unpruned"', '"name": "gone"', ('unpruned', None)),
        ('"classes": null', '"classes": "ssv2"', ('unpruned', 'ssv2')),
        ('"classes": null', '"classes": ""', ('unpruned', None)),
        ('"classes": null', '"classes": 5', ('unpruned', None)),
    ):
        (tmp_path / 'results.json').write_text(text.replace(old, new))
        read = read_run(tmp_path)
        assert (read.unpruned, read.class_list) == expected
    (tmp_path / 'results.json').unlink()
    assert read_run(tmp_path).rows == ()


def test_the_usual_name_will_do_where_nobody_says_what_drops_nothing(tmp_path) -> None:
    run = read_run(save(tmp_path, variants=np.array(['a', 'unpruned', 'c'])))
    assert run.unpruned == 'unpruned'
    assert choose_pair(run) == (1, 0)


@pytest.mark.parametrize('dtype', [np.int32, np.uint8, np.uint64])
def test_labels_of_any_whole_numbers(tmp_path, dtype) -> None:
    labels = read_run(save(tmp_path, labels=np.zeros(4, dtype=dtype))).scores.labels
    assert labels.dtype == np.int64


def test_by_default_the_first_and_the_one_that_falls_most(tmp_path) -> None:
    assert choose_pair(read_run(save(tmp_path))) == (0, 1)
    whole = dataclasses.replace(summarise(result())[0], name='c')
    for name, expected in (('c', (2, 1)), ('b', (1, 0))):
        run = dataclasses.replace(
            read_run(tmp_path),
            rows=(dataclasses.replace(whole, name=name),),
            settings=({'name': name, 'num_tokens': whole.tokens_kept},),
        )
        assert choose_pair(run) == expected


def test_of_equals_the_last(tmp_path) -> None:
    same = np.eye(2, dtype=np.float32)[np.zeros((3, 4), dtype=int)]
    assert choose_pair(read_run(save(tmp_path, scores=same))) == (0, 2)


def test_what_was_asked_for(tmp_path) -> None:
    assert choose_pair(read_run(save(tmp_path)), ('c', 'whole')) == (2, 0)


@pytest.mark.parametrize(
    'asked, said',
    [
        (('whole', 'd'), "no variant 'd'; the scores are of whole, b, c"),
        (('d', 'whole'), "no variant 'd'"),
        (('b', 'b'), "'b' cannot be compared with itself"),
    ],
)
def test_pairs_that_cannot_be_compared(tmp_path, asked, said) -> None:
    with pytest.raises(DataError, match=said):
        choose_pair(read_run(save(tmp_path)), asked)


def test_one_variant_is_not_enough(tmp_path) -> None:
    one = save(tmp_path, variants=np.array(['a']), scores=arrays()['scores'][:1])
    with pytest.raises(DataError, match='two variants are needed.* of a alone'):
        choose_pair(read_run(one))


OBJECTS = np.array([{'an': 'object'}] * 4, dtype=object)
SCORES = arrays()['scores']
DAMAGED = [
    pytest.param({'scores': None}, 'cannot be read.*scores', id='no scores'),
    pytest.param({'labels': OBJECTS}, 'cannot be read.*allow_pickle', id='objects'),
    pytest.param({'names': OBJECTS}, 'cannot be read.*allow_pickle', id='objects as names'),
    pytest.param({'scores': SCORES[0]}, r'shape \(4, 2\), not floats', id='one variant only'),
    pytest.param({'scores': SCORES.astype(int)}, 'int64 of shape', id='whole scores'),
    pytest.param({'labels': np.zeros(3, dtype=int)}, r'labels are int64 of shape \(3,\)', id='few'),
    pytest.param({'labels': np.zeros(4)}, 'labels are float64', id='labels are no integers'),
    pytest.param({'labels': np.array([0, 1, 2, 0])}, 'labels from 0 to 2, .* 2 classes', id='high'),
    pytest.param({'labels': np.array([0, 1, -1, 0])}, 'labels from -1 to 1', id='below zero'),
    pytest.param({'variants': np.array(['a', 'b'])}, '2 names of variants .* of 3', id='names'),
    pytest.param({'variants': np.array([1, 2, 3])}, '3 names of variants', id='numbers for names'),
    pytest.param({'variants': np.array([*'aba'])}, 'two variants of one name', id='same name'),
    pytest.param(
        {'scores': SCORES[:, :0], 'labels': np.zeros(0, dtype=int)}, 'nothing in', id='no videos'
    ),
]


@pytest.mark.parametrize('changes, said', DAMAGED)
def test_arrays_that_are_no_scores(tmp_path, changes, said) -> None:
    with pytest.raises(DataError, match=said):
        read_run(save(tmp_path, **changes))


@pytest.mark.parametrize('keep', [0, 1, 30, 200, -30, -1])
def test_a_damaged_file(tmp_path, keep) -> None:
    path = save(tmp_path) / 'scores.npz'
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match='scores.npz cannot be read'):
        read_run(tmp_path)


def test_a_flipped_byte(tmp_path) -> None:
    path = save(tmp_path) / 'scores.npz'
    data = bytearray(path.read_bytes())
    data[data.index(b'labels.npy') + 40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match='scores.npz cannot be read'):
        read_run(tmp_path)


def test_another_kind_of_file(tmp_path) -> None:
    with (tmp_path / 'scores.npz').open('wb') as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match='scores.npz cannot be read'):
        read_run(tmp_path)


@pytest.mark.parametrize('text', ['{"rows": ', '[' * 100_000, '\udcff', '[]', '{"rows": 3}'])
def test_a_damaged_results_json(tmp_path, text) -> None:
    save(tmp_path)
    (tmp_path / 'results.json').write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(DataError, match='results.json is damaged.*the scores are enough'):
        read_run(tmp_path)


def test_folders_without_scores(tmp_path) -> None:
    with pytest.raises(DataError, match='holds no scores.npz'):
        read_run(tmp_path)
    with pytest.raises(DataError, match='is not a folder'):
        read_run(tmp_path / 'nowhere')
    with pytest.raises(DataError, match='scores.npz is not a folder'):
        read_run(save(tmp_path) / 'scores.npz')


def test_a_config_without_a_name_of_its_own_is_called_as_its_folder() -> None:
    for config, title in (
        ('configs/sta_vit_k400.py', 'sta_vit_k400'),
        ('data/fights/config.py', 'fights'),
        ('config.py', Path.cwd().name),
    ):
        assert evaluated(result(num_videos=4, drops=()), config=config).title == title
