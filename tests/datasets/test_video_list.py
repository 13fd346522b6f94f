"""Lists of videos: what is understood, and what is refused with the file and the line at fault."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

import sta.models  # noqa: F401  (heals the host)
from sta.datasets import (
    annotations,
    transforms,  # noqa: F401  (registers them)
)
from sta.datasets.annotations import legible, read_annotations
from sta.datasets.transforms import videomae_ssv2_indices
from sta.datasets.video_list import VideoListDataset
from sta.errors import DataError
from tests.datasets.movies import frame_numbers, write_movie

PIPELINE = [
    {'type': 'OpenVideo'},
    {'type': 'ProtocolSampleFrames', 'protocol': 'videomae_ssv2', 'num_clips': 2},
    {'type': 'DecodeFrames'},
    {'type': 'ShortSideCrops', 'size': 32, 'num_crops': 3},
    {'type': 'FormatShape', 'input_format': 'NCTHW'},
    {'type': 'PackActionInputs'},
]


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmaction')


def dataset(folder: Path, text: str, **settings) -> VideoListDataset:
    ann_file = folder / 'list.txt'
    ann_file.write_text(text, encoding='utf-8')
    settings = {'data_prefix': {'video': str(folder)}, 'test_mode': True, **settings}
    return VideoListDataset(ann_file=str(ann_file), pipeline=PIPELINE, **settings)


def entries(videos: VideoListDataset, folder: Path) -> list[tuple[str, int]]:
    infos = [videos.get_data_info(i) for i in range(len(videos))]
    return [(os.path.relpath(info['filename'], folder), info['label']) for info in infos]


def test_lines_of_every_kind(tmp_path) -> None:
    lines = {
        'a.mp4 3': ('a.mp4', 3),
        'class/b.mp4 0': ('class/b.mp4', 0),
        'arm wrestling/a b.mp4 12': ('arm wrestling/a b.mp4', 12),
        'c.mp4,7': ('c.mp4', 7),
        'd.mp4, 7': ('d.mp4', 7),
        'arm wrestling/a, b.mp4,7': ('arm wrestling/a, b.mp4', 7),
        'e.mp4\t5': ('e.mp4', 5),
        '  f.mp4   5  ': ('f.mp4', 5),
        '2.mp4 2': ('2.mp4', 2),
        'clip 2 3': ('clip 2', 3),
        'größe.mp4 1': ('größe.mp4', 1),
    }
    assert entries(dataset(tmp_path, '\n'.join(lines)), tmp_path) == list(lines.values())


def test_blank_lines_and_other_line_ends(tmp_path) -> None:
    text = '\na.mp4 0\r\n\r\n   \nb.mp4,1\n\n'
    assert entries(dataset(tmp_path, text), tmp_path) == [('a.mp4', 0), ('b.mp4', 1)]


def test_a_mark_at_the_start_of_the_file_is_no_part_of_the_name(tmp_path) -> None:
    """Spreadsheets write one (a byte order mark) into their csv files."""
    assert entries(dataset(tmp_path, '\ufeffa.mp4,0\n'), tmp_path) == [('a.mp4', 0)]


def test_absolute_paths_and_no_folder(tmp_path) -> None:
    videos = dataset(tmp_path, '/films/a.mp4 1\nb.mp4 2', data_prefix=None)
    names = [videos.get_data_info(i)['filename'] for i in range(2)]
    assert names == ['/films/a.mp4', 'b.mp4']


@pytest.mark.parametrize('line', ['a.mp4', 'a.mp4 x', 'a.mp4 1.5', '7', 'path,label', 'a.mp4,'])
def test_a_line_that_is_not_path_and_label(line, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, f'good.mp4 1\n\n{line}\n')
    expected = f"{tmp_path / 'list.txt'}, line 3: expected 'path label', got {line!r}"
    assert str(caught.value) == expected


@pytest.mark.parametrize('label', [-1, 10, 399])
def test_a_label_out_of_range(label, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, f'good.mp4 9\nbad.mp4 {label}\n', num_classes=10)
    assert str(caught.value) == (
        f'{tmp_path / "list.txt"}, line 2: label {label} is not between 0 and 9 '
        f'(num_classes of the config)'
    )


def test_labels_are_free_without_num_classes(tmp_path) -> None:
    assert entries(dataset(tmp_path, 'a.mp4 1000'), tmp_path) == [('a.mp4', 1000)]


@pytest.mark.parametrize('text', ['', '\n', '  \n\n'])
def test_an_empty_list(text, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, text)
    assert str(caught.value) == f'annotation file {tmp_path / "list.txt"} is empty'


def test_a_missing_list(tmp_path) -> None:
    missing = tmp_path / 'none.txt'
    with pytest.raises(DataError) as caught:
        VideoListDataset(ann_file=str(missing), pipeline=PIPELINE)
    assert str(caught.value).startswith(
        f"annotation file {missing} does not exist; it lists the videos, one 'path label' a line"
    )


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (
            b'a.mp4 0\ncaf\xe9.mp4 1\n',
            'not UTF-8 text: invalid continuation byte in line 2 (byte 11',
        ),
        ('a.mp4 0\n'.encode('utf-16'), 'not UTF-8 text but UTF-16'),
        (b'\0a.mp4 0\n', 'zero bytes'),
        (b'PK\x03\x04....', 'a zip archive or an Excel workbook: unpack it'),
        (gzip.compress(b'a.mp4 0\n' * 99, mtime=0)[:-9], 'no whole gzip file'),
        (b'\x1f\x8b\x08 is no gzip', 'no whole gzip file'),
    ],
    ids=['latin-1', 'utf-16', 'zeros', 'zip', 'cut', 'noise'],
)
def test_a_list_that_is_no_text(tmp_path, content: bytes, said: str) -> None:
    (tmp_path / 'list.txt').write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_annotations(tmp_path / 'list.txt')
    assert str(caught.value).startswith(f'annotation file {tmp_path / "list.txt"} is no')
    assert said in str(caught.value)


def test_a_list_that_gzip_has_compressed(tmp_path, monkeypatch) -> None:
    path = tmp_path / 'list.txt.gz'
    path.write_bytes(gzip.compress('\ufeffgröße.mp4 1\r\n'.encode()))
    assert read_annotations(path) == [('größe.mp4', 1)]
    monkeypatch.setattr(annotations, 'MOST_BYTES', 2**20)
    path.write_bytes(gzip.compress(b'0' * (2**20 + 1)))
    with pytest.raises(DataError, match='holds more than 1 MiB: it is no list$'):
        read_annotations(path)


def test_a_list_that_is_a_folder_or_a_pipe(tmp_path) -> None:
    with pytest.raises(DataError, match='cannot be read: Is a directory'):
        read_annotations(tmp_path)
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(DataError, match='pipe is not a regular file'):
        read_annotations(tmp_path / 'pipe')


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        ('a.mp4', 'a.mp4 has label 0'),
        ('./a.mp4', 'a.mp4, also called ./a.mp4, has label 0'),
        ('b/../a.mp4', 'a.mp4, also called b/../a.mp4, has label 0'),
        ('{folder}/a.mp4', 'a.mp4, also called {folder}/a.mp4, has label 0'),
    ],
)
def test_a_video_that_is_listed_twice(tmp_path, capsys, other: str, said: str) -> None:
    other, said = other.format(folder=tmp_path), said.format(folder=tmp_path)
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, f'a.mp4 0\nc.mp4 1\n\n{other} 3\n')
    path = tmp_path / 'list.txt'
    assert str(caught.value) == (
        f'{path}: 1 of 3 lines give a video another label, e.g. {said} in line 1 and label 3 in '
        f'line 4: remove the wrong line'
    )
    assert len(dataset(tmp_path, f'a.mp4 0\n{other} 0\n')) == 2
    assert capsys.readouterr().err == (
        f'note: {path}: 1 of 2 lines name a video again with the same label, e.g. '
        f'{said.removesuffix(" has label 0")} in lines 1 and 2; every line counts\n'
    )


def test_behind_a_link_lies_another_file(tmp_path) -> None:
    for name in ('a.mp4', 'far/a.mp4', 'far/in/b.mp4'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'far' / 'in')
    assert len(dataset(tmp_path, 'a.mp4 0\nlink/../a.mp4 1\n')) == 2


def lines_of(**labels: int) -> list[str]:
    """Four videos in a folder for every class."""
    return [f'{name}/{i}.mp4 {label}' for name, label in labels.items() for i in range(4)]


RIGHT = lines_of(run=0, Jump_High=1, sit=2)


@pytest.mark.parametrize(
    ('lines', 'names', 'said'),
    [
        (lines_of(run=1, Jump_High=0, sit=2), 'run jump-high sit', '8 of 12 labels contradict'),
        (lines_of(run=0, Jump_High=2, sit=2), 'run jump-high sit', '4 of 12 labels contradict'),
        (['in/run/x/0.mp4 1', 'in/sit/0.mp4 1'], 'run sit', '1 of 2 labels contradict'),
        (['/run/run/0.mp4 0', '/run/sit/0.mp4 0'], 'run sit', '1 of 2 labels contradict'),
        (['run/0.mp4 3'], 'run sit jump fall', "run/0.mp4 has label 3, 'fall', but its folder is "),
    ],
    ids=['exchanged', 'merged', 'deep', 'namesake above', 'single'],
)
def test_labels_of_another_order(tmp_path, lines: list[str], names: str, said: str) -> None:
    (tmp_path / 'classes.txt').write_text(names.replace(' ', '\n').replace('-', ' '))
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, '\n'.join(lines), classes=str(tmp_path / 'classes.txt'))
    assert said in str(caught.value)
    assert str(caught.value).endswith('classes.txt: labels must follow the order of these names')


@pytest.mark.parametrize(
    ('lines', 'names', 'said'),
    [
        (RIGHT, 'run jump-high sit', ''),
        (
            [*RIGHT, 'run/9.mp4 1'],
            'run jump-high sit',
            "1 of 13 labels contradict the folder of the video, e.g. run/9.mp4 has label 1, 'jump "
            "high', but its folder is label 0 of {classes}; they count as they are listed",
        ),
        ([f'run/{i}.mp4 {i % 2}' for i in range(4)], 'run sit', '2 of 4 labels contradict'),
        (['0/a.mp4 1', '1/a.mp4 0'], '0 1', ''),
        (['sit/../run/0.mp4 0', 'run/../sit/0.mp4 1'], 'run sit', ''),
        (RIGHT, '', ''),
        (
            [*RIGHT, 'run/9.mp4 1'],
            '',
            '1 of 13 labels differ from those of the same folder, e.g. '
            'run/9.mp4 has label 1, 4 others there have label 0; they count as they are listed',
        ),
        ([f'part{i % 3}/{i}.mp4 {i % 4}' for i in range(24)], '', ''),
    ],
    ids=['right', 'one', 'one folder of all', 'numbers', 'dots', 'nameless', 'odd one', 'parts'],
)
def test_labels_that_are_suspicious(tmp_path, capsys, lines, names, said) -> None:
    (tmp_path / 'classes.txt').write_text(names.replace(' ', '\n').replace('-', ' '))
    classes = str(tmp_path / 'classes.txt') if names else None
    assert len(dataset(tmp_path, '\n'.join(lines), classes=classes)) == len(lines)
    note = capsys.readouterr().err
    assert (said.format(classes=classes) in note and note.count('\n') == 1) if said else not note


def test_four_hundred_classes_are_those_of_kinetics_if_all_folders_say_so(tmp_path) -> None:
    lines = lines_of(abseiling=5, archery=0)
    with pytest.raises(DataError, match='archery/0.mp4|abseiling/0.mp4 has label 5.*kinetics400'):
        dataset(tmp_path, '\n'.join(lines), num_classes=400)
    assert len(dataset(tmp_path, '\n'.join([*lines, *lines_of(hopping=7)]), num_classes=400)) == 12


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('größe, "#1".mp4', 'größe, "#1".mp4'),
        ('a\nb\t\x1b[31m.mp4', r'a\nb\t\x1b[31m.mp4'),
        (os.fsdecode(b'caf\xe9.mp4'), r'caf\udce9.mp4'),
    ],
)
def test_names_are_said_on_any_screen(name: str, said: str) -> None:
    assert legible(name) == said


def test_max_videos_are_a_fixed_sample_in_the_order_of_the_list(tmp_path) -> None:
    """A smaller sample is part of a larger one; and lists that take turns lose no class."""
    text = '\n'.join(f'v{i}.mp4 {i % 4}' for i in range(200))
    samples = {
        number: entries(dataset(tmp_path, text, max_videos=number), tmp_path)
        for number in (1, 20, 50, 100, 200, 500, None)
    }
    whole = [(f'v{i}.mp4', i % 4) for i in range(200)]
    assert samples[200] == samples[500] == samples[None] == whole
    for smaller, larger in ((1, 20), (20, 50), (50, 100)):
        assert len(samples[smaller]) == smaller
        assert set(samples[smaller]) < set(samples[larger])
        assert samples[smaller] == [entry for entry in whole if entry in samples[smaller]]
    labels = [label for _, label in samples[100]]
    assert all(15 <= labels.count(label) <= 35 for label in range(4))
    again = dataset(tmp_path, text, max_videos=20)
    assert entries(again, tmp_path) == samples[20]


@pytest.mark.parametrize('max_videos', [0, -1])
def test_max_videos_below_one(max_videos, tmp_path) -> None:
    with pytest.raises(DataError, match=f'^max_videos must be at least 1, got {max_videos}$'):
        dataset(tmp_path, 'a.mp4 1', max_videos=max_videos)


def test_missing_files_are_listed(tmp_path) -> None:
    (tmp_path / 'b c.mp4').touch()
    (tmp_path / 'folder.mp4').mkdir()
    videos = dataset(tmp_path, 'a.mp4 1\nb c.mp4 1\nfolder.mp4 1\nd.mp4 2')
    names = [os.path.relpath(name, tmp_path) for name in videos.missing_files()]
    assert names == ['a.mp4', 'folder.mp4', 'd.mp4']


def test_nothing_is_missing(tmp_path) -> None:
    (tmp_path / 'a.mp4').touch()
    assert dataset(tmp_path, 'a.mp4 1').missing_files() == []


def test_a_sample_holds_views_label_and_where_it_came_from(tmp_path) -> None:
    for name, num_frames in (('a b/one.mp4', 12), ('two.mp4', 40)):
        write_movie(tmp_path / name, num_frames=num_frames)
    videos = dataset(tmp_path, 'a b/one.mp4 3\ntwo.mp4 8')
    for index, (name, label, num_frames) in enumerate([('a b/one.mp4', 3, 12), ('two.mp4', 8, 40)]):
        sample = videos[index]
        assert tuple(sample['inputs'].shape) == (6, 3, 16, 32, 32)
        assert sample['data_samples'].gt_label.tolist() == [label]
        assert sample['data_samples'].index == index
        assert sample['data_samples'].filename == str(tmp_path / name)
        # views: the two clips of the first crop, then those of the second and third
        clips = videomae_ssv2_indices(num_frames).tolist()
        for view, frames in enumerate(sample['inputs'].permute(0, 2, 1, 3, 4).numpy()):
            assert frame_numbers(frames) == clips[view % 2]


def test_indices_refer_to_the_shortened_list(tmp_path) -> None:
    for i in range(4):
        write_movie(tmp_path / f'v{i}.mp4', num_frames=2)
    videos = dataset(tmp_path, '\n'.join(f'v{i}.mp4 {i}' for i in range(4)), max_videos=2)
    expected = videos.get_data_info(1)
    sample = videos[1]['data_samples']
    assert (sample.index, sample.filename) == (1, expected['filename'])
    assert sample.gt_label.tolist() == [expected['label']]
    assert expected['label'] != 1  # else the whole list would do as well
