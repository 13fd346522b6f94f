"""Files that read back as what was found, whatever classes and variants are called."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from sta.evaluation import top_k_correct
from sta.report.classes import change_texts, write_classes, write_comparison
from sta.report.classes.files import in_file_name

from ..example import result
from .example import NAMES, compared, small, staircase

FACTS = {'command': 'python tools/compare_classes.py run', 'scores': 'run/scores.npz'}
PAIR = 'unpruned_vs_sta-8'


def write(comparison, folder: Path, top: int = 15) -> dict[str, Path]:
    return {path.name: path for path in write_comparison(comparison, folder, FACTS, top=top)}


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def reject(constant: str) -> None:
    raise AssertionError(f'{constant} is no JSON')


def test_the_files_are_those_it_names_and_nothing_else(tmp_path) -> None:
    folder = tmp_path / 'new' / 'folder'
    written = write(small(), folder)
    stems = [f'classes_{PAIR}'] * 5 + [f'confusions_{PAIR}'] * 2
    kinds = ['csv', 'json', 'md', 'png', 'svg', 'png', 'svg']
    assert list(written) == [f'{stem}.{kind}' for stem, kind in zip(stems, kinds)]
    assert sorted(written) == sorted(path.name for path in folder.iterdir())
    assert all(path.stat().st_size > 0 for path in written.values())


def test_csv_worked_by_hand(tmp_path) -> None:
    push, pull, unseen, lift = lines_of(write(small(), tmp_path)[f'classes_{PAIR}.csv'])
    assert (push['label'], push['name'], push['videos']) == ('0', 'push', '8')
    assert [push[key] for key in ('correct_before', 'correct_after', 'lost', 'gained')] == [
        '6', '5', '2', '1',
    ]  # fmt: skip
    figures = ('before_percent', 'after_percent', 'change_points', 'p_value', 'adjusted_p')
    assert [float(pull[key]) for key in figures] == pytest.approx(
        [100.0, 12.5, -87.5, 2 / 128, 6 / 128]
    )
    assert unseen['videos'] == '0' and [unseen[key] for key in figures] == [''] * 5
    assert [line['name'] for line in (push, pull, unseen, lift)] == list(NAMES)


def test_json_holds_every_class_and_every_confusion(tmp_path) -> None:
    text = write(small(), tmp_path)[f'classes_{PAIR}.json'].read_text(encoding='utf-8')
    found = json.loads(text, parse_constant=reject)
    assert found['environment'] == FACTS
    assert (found['before'], found['after']) == ('unpruned', 'sta-8')
    assert [line['name'] for line in found['classes']] == list(NAMES)
    assert found['classes'][2]['before_percent'] is None
    assert found['classes'][1]['change_points'] == -87.5
    assert (found['total']['lost'], found['total']['gained']) == (9, 2)
    assert found['confusions'] == [
        {'true': 1, 'predicted': 3, 'before': 0, 'after': 5},
        {'true': 1, 'predicted': 0, 'before': 0, 'after': 2},
        {'true': 0, 'predicted': 3, 'before': 0, 'after': 1},
        {'true': 0, 'predicted': 1, 'before': 2, 'after': 2},
        {'true': 3, 'predicted': 0, 'before': 1, 'after': 0},
    ]


def test_csv_and_json_hold_all_classes_however_few_are_shown(tmp_path) -> None:
    written = write(staircase(30), tmp_path, top=1)
    assert len(lines_of(written[f'classes_{PAIR}.csv'])) == 30
    found = json.loads(written[f'classes_{PAIR}.json'].read_text())
    assert [line['label'] for line in found['classes']] == list(range(30))


def test_markdown_shows_what_the_screen_shows(tmp_path) -> None:
    text = write(small(), tmp_path)[f'classes_{PAIR}.md'].read_text(encoding='utf-8')
    lines = text.splitlines()
    assert lines[0] == '**Classes: before = unpruned, after = sta-8**'
    heads = 'class | videos | before % | after % | change points | lost | gained | p | adj. p'
    assert lines[2] == f'| {heads} |'
    assert lines[4] == r'| pull\|over | 8 | 100.0 | 12.5 | -87.5 | 7 | 0 | 0.016 | 0.047 |'
    assert change_texts(small(), 15).caption in text
    assert r'| pull\|over -> lift, "up" | 0 | 5 | +5 |' in lines
    assert f'![](classes_{PAIR}.png)' in lines and f'![](confusions_{PAIR}.png)' in lines
    assert FACTS['command'] in lines


def test_addresses_of_pictures_hold_no_bracket(tmp_path) -> None:
    found = dataclasses.replace(small(), after='sta[a=(b) c]-8')
    (markdown,) = (p for name, p in write(found, tmp_path).items() if name.endswith('.md'))
    (first, _) = (line for line in markdown.read_text().splitlines() if line.startswith('!['))
    address = first.removeprefix('![](').removesuffix(')')
    assert not set(address) & set('[]() ')


def test_the_same_comparison_gives_the_same_bytes(tmp_path) -> None:
    first, second = write(small(), tmp_path / 'a'), write(small(), tmp_path / 'b')
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()


@pytest.mark.parametrize('variant', ['sta-8', 'sta-48,96,192', 'sta[score=temporal]-8', 'a.b+c_d'])
def test_usual_names_stay_what_they_are(variant) -> None:
    assert in_file_name(variant) == variant


def test_odd_names_are_safe_and_still_different() -> None:
    odd = ['a/b', 'a:b', 'a b', '../a', 'a*b', 'x' * 300, 'x' * 301, 'ä', 'スタ', 'a\nb', '']
    names = [in_file_name(variant) for variant in odd]
    assert len(set(names)) == len(odd)
    assert all(len(name.encode()) < 100 and not set(name) & set('/\\:*?"<>| \n') for name in names)


@pytest.mark.filterwarnings('error')
def test_odd_names_can_be_written(tmp_path) -> None:
    found = compared([0, 1], [0, 1], [1, 1], ['$a$', 'b'], ('../x/' + 'y' * 300, 'ü|$z$'))
    written = write(found, tmp_path)
    assert all(path.parent == tmp_path for path in written.values())
    (table,) = (path for name, path in written.items() if name.endswith('.json'))
    assert json.loads(table.read_text(encoding='utf-8'))['after'] == 'ü|$z$'


def test_classes_of_all_variants(tmp_path) -> None:
    found = result()
    path = write_classes(found, tmp_path / 'new')
    assert path == tmp_path / 'new' / 'classes.csv'
    lines = lines_of(path)
    assert [line['label'] for line in lines] == [str(i) for i in range(10)]
    assert [line['name'] for line in lines] == [f'class {i}' for i in range(10)]
    assert {line['videos'] for line in lines} == {'30'}
    heads = [f'top1_percent:{v.variant.name}' for v in found.variants]
    assert list(lines[0]) == ['label', 'name', 'videos', *heads]
    for v, head in zip(found.variants, heads):
        correct = top_k_correct(v.scores, found.labels, 1)
        for label, line in enumerate(lines):
            assert float(line[head]) == pytest.approx(100 * correct[found.labels == label].mean())


def test_classes_without_videos_have_empty_cells(tmp_path) -> None:
    found = dataclasses.replace(result(), labels=np.arange(300) % 3)
    lines = lines_of(write_classes(found, tmp_path, [*'abcdefghij']))
    assert [line['name'] for line in lines] == [*'abcdefghij']
    assert [line['videos'] for line in lines] == ['100'] * 3 + ['0'] * 7
    assert lines[3]['top1_percent:unpruned'] == '' and lines[2]['top1_percent:unpruned'] != ''


def test_as_many_names_as_classes(tmp_path) -> None:
    with pytest.raises(ValueError, match='2 names of classes, scores of 10'):
        write_classes(result(), tmp_path, ['a', 'b'])
    assert not list(tmp_path.iterdir())
