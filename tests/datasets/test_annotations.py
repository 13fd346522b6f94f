"""Lists of videos and class names: what is understood, and what is refused with file and line."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from sta.datasets import annotations
from sta.datasets.annotations import (
    OFFICIAL,
    ClassLookup,
    known_classes,
    legible,
    plain,
    read_annotations,
    read_class_names,
)
from sta.errors import DataError


def listed(
    folder: Path, text: str, *, classes: str | None = None, num_classes: int | None = None
) -> list[tuple[str, int]]:
    (folder / 'list.txt').write_text(text, encoding='utf-8')
    known = known_classes(classes, num_classes)
    found = read_annotations(
        folder / 'list.txt', num_classes=num_classes, classes=known, folder=folder
    )
    return [tuple(entry) for entry in found]


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
    assert listed(tmp_path, '\n'.join(lines)) == list(lines.values())


def test_blank_lines_and_other_line_ends(tmp_path) -> None:
    text = '\na.mp4 0\r\n\r\n   \nb.mp4,1\n\n'
    assert listed(tmp_path, text) == [('a.mp4', 0), ('b.mp4', 1)]


def test_a_mark_at_the_start_of_the_file_is_no_part_of_the_name(tmp_path) -> None:
    """Spreadsheets write one (a byte order mark) into their csv files."""
    assert listed(tmp_path, '\ufeffa.mp4,0\n') == [('a.mp4', 0)]


@pytest.mark.parametrize('line', ['a.mp4', 'a.mp4 x', 'a.mp4 1.5', '7', 'path,label', 'a.mp4,'])
def test_a_line_that_is_not_path_and_label(line, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path, f'good.mp4 1\n\n{line}\n')
    expected = f"{tmp_path / 'list.txt'}, line 3: expected 'path label', got {line!r}"
    assert str(caught.value) == expected


@pytest.mark.parametrize('label', [-1, 10, 399])
def test_a_label_out_of_range(label, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path, f'good.mp4 9\nbad.mp4 {label}\n', num_classes=10)
    assert str(caught.value) == (
        f'{tmp_path / "list.txt"}, line 2: label {label} is not between 0 and 9 '
        f'(num_classes of the config)'
    )


def test_labels_are_free_without_num_classes(tmp_path) -> None:
    assert listed(tmp_path, 'a.mp4 1000') == [('a.mp4', 1000)]


@pytest.mark.parametrize('text', ['', '\n', '  \n\n'])
def test_an_empty_list(text, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path, text)
    assert str(caught.value) == f'annotation file {tmp_path / "list.txt"} is empty'


def test_a_missing_list(tmp_path) -> None:
    missing = tmp_path / 'none.txt'
    with pytest.raises(DataError) as caught:
        read_annotations(missing)
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
        listed(tmp_path, f'a.mp4 0\nc.mp4 1\n\n{other} 3\n')
    path = tmp_path / 'list.txt'
    assert str(caught.value) == (
        f'{path}: 1 of 3 lines give a video another label, e.g. {said} in line 1 and label 3 in '
        f'line 4: remove the wrong line'
    )
    assert len(listed(tmp_path, f'a.mp4 0\n{other} 0\n')) == 2
    assert capsys.readouterr().err == (
        f'note: {path}: 1 of 2 lines name a video again with the same label, e.g. '
        f'{said.removesuffix(" has label 0")} in lines 1 and 2; every line counts\n'
    )


def test_behind_a_link_lies_another_file(tmp_path) -> None:
    for name in ('a.mp4', 'far/a.mp4', 'far/in/b.mp4'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'far' / 'in')
    assert len(listed(tmp_path, 'a.mp4 0\nlink/../a.mp4 1\n')) == 2


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
        listed(tmp_path, '\n'.join(lines), classes=str(tmp_path / 'classes.txt'))
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
    assert len(listed(tmp_path, '\n'.join(lines), classes=classes)) == len(lines)
    note = capsys.readouterr().err
    assert (said.format(classes=classes) in note and note.count('\n') == 1) if said else not note


def test_four_hundred_classes_are_those_of_kinetics_if_all_folders_say_so(tmp_path) -> None:
    lines = lines_of(abseiling=5, archery=0)
    with pytest.raises(DataError, match='archery/0.mp4|abseiling/0.mp4 has label 5.*kinetics400'):
        listed(tmp_path, '\n'.join(lines), num_classes=400)
    assert len(listed(tmp_path, '\n'.join([*lines, *lines_of(hopping=7)]), num_classes=400)) == 12


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


def test_kinetics400_is_alphabetical() -> None:
    names = read_class_names('kinetics400')
    assert len(names) == 400
    assert list(names) == sorted(names)
    assert (names[0], names[5], names[399]) == ('abseiling', 'archery', 'zumba')


def test_ssv2_is_in_the_order_of_its_ids() -> None:
    names = read_class_names('ssv2')
    assert len(names) == 174
    assert names[0] == 'Approaching something with your camera'
    assert names[93] == 'Pushing something from left to right'
    assert names[173] == 'Wiping something off of something'


def test_a_file_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / 'classes.txt'
    path.write_text('\ufeffjumping up\n\n laufen \n', encoding='utf-8')
    assert read_class_names(path) == ('jumping up', 'laufen')
    assert capsys.readouterr().err == (
        f"note: class list {path}: line 2 is empty and not counted, so that 'laufen' is label 1\n"
    )
    path.write_bytes(gzip.compress(b'run\r\nsit\r\n\r\n', mtime=0))
    assert read_class_names(path) == ('run', 'sit')
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'is empty'),
        (b'run\nwalk\nrun\n', "'run' stands there twice, in lines 1 and 3: the place"),
        (b'\xff\xfe\x00', 'not UTF-8'),
    ],
)
def test_refuses_unusable_files(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / 'classes.txt'
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_class_names(path)


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='No such file.*one name a line.* mean kinetics400'):
        read_class_names(tmp_path / 'kinetics401')


KINETICS = ClassLookup(read_class_names('kinetics400'), 'Kinetics-400')


@pytest.mark.parametrize(
    ('name', 'label'),
    [
        ('arm wrestling', 6),
        ('arm_wrestling', 6),
        ('Arm-Wrestling ', 6),
        ('ARM  WRESTLING', 6),
        ('hurling_-sport-', 161),  # as mmaction2's rename_classnames.sh writes it
        ('hurling (sport)', 161),
        ("massaging person's head", 196),
        ('arm', None),
        ('armwrestling', None),
        ('', None),
    ],
)
def test_spellings(name, label) -> None:
    assert KINETICS.find(name) == label


@pytest.mark.parametrize('official', OFFICIAL)
def test_no_two_official_names_are_taken_for_each_other(official) -> None:
    names = read_class_names(official)
    lookup = ClassLookup(names, official)
    assert lookup.labels([name.upper().replace(' ', '_') for name in names], '') == list(
        range(len(names))
    )


def test_names_that_differ_in_punctuation_only() -> None:
    lookup = ClassLookup(['a_b', 'a b', 'ä'], 'mine')
    assert [lookup.find(name) for name in ('a_b', 'a b', 'A-B', 'Ä')] == [0, 1, 0, 2]


def test_unknown_names_are_counted_once() -> None:
    names = ['zumba', 'arm wrestlin', 'b1', 'b2', 'b3', 'b1', 'arm wrestlin']
    with pytest.raises(DataError) as error:
        KINETICS.labels(names, 'val.csv')
    assert str(error.value).startswith('val.csv: 4 of 5 class names are not among the 400 of Kin')
    assert "'arm wrestlin' (is it 'arm wrestling'?), 'b1'" in str(error.value)
    assert str(error.value).endswith('and 1 more')


def test_plain() -> None:
    assert plain('  Turning_ON (a  Lamp)! ') == 'turning on a lamp'
