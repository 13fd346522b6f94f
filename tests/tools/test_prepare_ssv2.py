"""From the json files of Something-Something V2 to a list, and every way to get it wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .preparation import listed, table, write_labels, write_lines, write_validation, write_videos
from .tiny import run_tool

VIDEOS = (
    ('74225', 'Spinning [something] that quickly stops spinning'),
    ('12', 'Approaching [something] with your camera'),
    ('9', 'Putting [something], [something] and [something] on the table'),
)


@pytest.fixture(autouse=True)
def official(tmp_path) -> None:
    write_labels(tmp_path / 'labels.json')
    write_validation(tmp_path / 'validation.json', VIDEOS)


def arguments(labels: str = 'labels.json', annotations: str = 'validation.json') -> tuple:
    named = ('--labels', labels, '--annotations', annotations)
    return (*named, '--videos', 'videos', '--out', 'out', '--workers', 1)


def test_templates_become_labels(tmp_path, capsys) -> None:
    write_videos(tmp_path / 'videos', '74225.webm', '12.mp4')
    assert run_tool('prepare_ssv2', *arguments()) == 0
    assert listed(Path('out/sthv2_val_list_videos.txt')) == [('74225.webm', 140), ('12.mp4', 0)]
    assert table(Path('out/sthv2_val_excluded.csv')) == [
        {'path': '9.webm', 'label': '120', 'reason': 'there is no such file'}
    ]
    manifest = table(Path('out/sthv2_val_manifest.csv'))
    assert manifest[0]['class'] == 'Spinning something that quickly stops spinning'
    said = capsys.readouterr().out
    assert 'its 174 classes are the official ones' in said and '24,777' in said
    assert said.splitlines()[-1] == (
        'next: python tools/test.py configs/sta_vit_ssv2.py CHECKPOINT --cfg-options '
        'test_dataloader.dataset.ann_file=out/sthv2_val_list_videos.txt '
        'test_dataloader.dataset.data_prefix.video=videos'
    )


def test_a_list_will_do(tmp_path) -> None:
    write_videos(tmp_path / 'videos', '12.webm')
    write_lines(tmp_path / 'val.csv', '/there/12.mp4 0', '/there/13.mp4 1')
    assert run_tool('prepare_ssv2', *arguments(annotations='val.csv')) == 0
    assert listed(Path('out/sthv2_val_list_videos.txt')) == [('12.webm', 0)]


FIRST = 'Approaching something with your camera'
SECOND = 'Attaching something to something'


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({FIRST: '1', SECOND: '0'}, (f"'{FIRST}' has id 1 instead of 0", f"'{SECOND}' has id 0")),
        ({FIRST: None}, ('has 173 classes', f"'{FIRST}' is missing")),
        ({'Dreaming of something': '174'}, ('has 175', "'Dreaming of something' is unknown")),
        ({FIRST: 'zero'}, ('labels.json: expected {"class name": "id"',)),
    ],
)
def test_labels_that_are_not_the_official_ones(refused, tmp_path, changes, said) -> None:
    write_labels(tmp_path / 'labels.json', changes)
    refused('prepare_ssv2', *arguments(), said=('labels.json', *said))


def test_labels_that_are_all_shifted_name_three(refused, tmp_path) -> None:
    labels = json.loads((tmp_path / 'labels.json').read_text())
    shifted = {name: int(label) + 1 for name, label in labels.items()}
    (tmp_path / 'labels.json').write_text(json.dumps(shifted))
    error = refused('prepare_ssv2', *arguments(), said=('has id 1 instead of 0', 'and 171 more'))
    assert error.count('instead of') == 3


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('', ('validation.json is no json',)),
        ('{"id": 1', ('validation.json is no json', 'line 1')),
        ('{"id": "1"}', ('expected a list like',)),
        ('[]', ('expected a list like',)),
        ('["1"]', ('expected a list like',)),
        ('[{"id": "1"}]', ('entry 0', 'test.json', 'validation.json')),
        ('[{"template": "x"}]', ('entry 0', '"id" and "template"')),
        (
            '[{"id": "1", "template": "Approaching [something] with your cameras"}]',
            ('1 of 1 class names', f"(is it '{FIRST}'?)"),
        ),
        ('a.mp4 174\n', ('line 1', 'label 174', '173')),
    ],
)
def test_annotations_that_cannot_be_used(refused, tmp_path, content, said) -> None:
    (tmp_path / 'validation.json').write_text(content)
    refused('prepare_ssv2', *arguments(), said=said)


@pytest.mark.parametrize('name', ['labels', 'annotations'])
def test_files_that_are_not_there(refused, name) -> None:
    refused('prepare_ssv2', *arguments(**{name: 'gone'}), said=('gone', 'No such file'))


def test_no_video_found(refused, tmp_path) -> None:
    write_videos(tmp_path / 'videos', 'clip_74225.webm')
    said = ('none of the 3 videos', 'clip_74225.webm', 'expected e.g. 74225.webm')
    refused('prepare_ssv2', *arguments(), said=said)
