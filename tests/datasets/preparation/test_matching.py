"""What is found in a folder, and which of several files is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sta.datasets.preparation.matching import FolderIndex, Wanted, is_video
from sta.errors import DataError


def folder_of(folder: Path, *names: str) -> FolderIndex:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return FolderIndex(folder)


def test_videos_at_any_depth(tmp_path) -> None:
    names = ('b.MP4', 'a/c.webm', 'a/b c/d.mkv', 'a/e.avi')
    others = ('a/notes.txt', 'x.mp4.part', 'a/._c.webm', '.cache/f.mp4', 'mp4')
    index = folder_of(tmp_path, *names, *others)
    assert index.paths == ('a/b c/d.mkv', 'a/c.webm', 'a/e.avi', 'b.MP4')
    assert index.left_out == ('a/notes.txt', 'mp4', 'x.mp4.part')
    assert index.left_out_line() == (
        '3 files left out, since no suffix of a video is theirs (1 .txt, 1 no suffix, 1 .part), '
        'e.g. a/notes.txt'
    )


def test_suffixes_of_cameras_and_recorders(tmp_path) -> None:
    suffixes = '3gp M2TS TS f4v flv gif mpg mts mxf ogv rmvb vob wmv'.split()
    index = folder_of(tmp_path, *(f'a.{suffix}' for suffix in suffixes), '.a.ts', '.DS_Store')
    assert len(index.paths) == len(suffixes)
    assert index.left_out_line().endswith('theirs (1 hidden), e.g. .a.ts')
    assert folder_of(tmp_path / 'empty', '._a.mp4').left_out_line() is None


@pytest.mark.parametrize(
    'start',
    [
        b'\0\0\0\x20ftypisom',
        b'\x1a\x45\xdf\xa3\x01',
        b'RIFF....AVI LIST',
        b'FLV\x01',
        b'\0\0\0\x08wide',
    ],
)
def test_videos_that_have_lost_their_suffix(tmp_path, start) -> None:
    (tmp_path / 'AbC-_1_000001_000011').write_bytes(start)
    index = folder_of(tmp_path, 'README')
    assert index.paths == ('AbC-_1_000001_000011',) and index.left_out == ('README',)
    assert best(index, 'AbC-_1_000001_000011') == ['AbC-_1_000001_000011']


def test_links_are_followed_but_not_in_circles(tmp_path) -> None:
    folder_of(tmp_path, 'real/a.mp4', 'top/b.mp4')
    (tmp_path / 'top' / 'class').symlink_to(tmp_path / 'real')
    (tmp_path / 'top' / 'circle').symlink_to(tmp_path / 'top')
    (tmp_path / 'real' / 'up').symlink_to(tmp_path / 'top')
    assert FolderIndex(tmp_path / 'top').paths == ('b.mp4', 'class/a.mp4')


def test_no_file_is_looked_at(tmp_path, monkeypatch) -> None:
    folder_of(tmp_path, *(f'a/{i}.mp4' for i in range(50)))
    looks = []
    true_stat = os.stat
    monkeypatch.setattr(os, 'stat', lambda *a, **k: looks.append(a[0]) or true_stat(*a, **k))
    index = FolderIndex(tmp_path)
    index.candidates(Wanted('1.mp4', 0, ('1',)), 'x')
    assert len(index.paths) == 50 and len(looks) < 10


def best(index: FolderIndex, *stems: str, class_name: str = 'air drumming') -> list[str]:
    return index.candidates(Wanted('', 0, stems), class_name)


def test_the_better_name_comes_first(tmp_path) -> None:
    index = folder_of(tmp_path, 'a/id.mp4', 'b/id_01.mp4', 'id_02.mp4')
    assert best(index, 'id_01', 'id') == ['b/id_01.mp4', 'a/id.mp4']
    assert best(index, 'id_03') == []


def test_then_replacements_then_the_folder_of_the_class_then_the_alphabet(tmp_path) -> None:
    names = ('a/id.mp4', 'air_drumming/id.mkv', 'b/id.mp4', 'replacement_for_x/id.mp4')
    index = folder_of(tmp_path, *names)
    assert best(index, 'id') == [names[3], names[1], names[0], names[2]]


def test_a_file_at_its_path_is_the_only_one(tmp_path) -> None:
    index = folder_of(tmp_path / 'in', 'a/id.mp4', 'b/id.mp4', 'odd.suffix')
    (tmp_path / 'other.mp4').touch()

    def at(path: str) -> list[str]:
        return index.candidates(Wanted(path, 0, ('id',), path), 'x')

    assert at('b/id.mp4') == ['b/id.mp4']
    assert at(str(tmp_path / 'in' / 'b' / 'id.mp4')) == ['b/id.mp4']
    assert at('odd.suffix') == ['odd.suffix']
    assert at('../other.mp4') == ['../other.mp4']
    assert at(str(tmp_path / 'other.mp4')) == [str(tmp_path / 'other.mp4')]
    assert at('/there/c/id.mp4') == ['a/id.mp4', 'b/id.mp4']


def test_without_looking_only_paths_are_found(tmp_path) -> None:
    folder_of(tmp_path, 'a/id.mp4')
    index = FolderIndex(tmp_path, look=False)
    assert index.paths == ()
    assert index.candidates(Wanted('', 0, ('id',), 'a/id.mp4'), '') == ['a/id.mp4']
    assert index.candidates(Wanted('', 0, ('id',), 'b/id.mp4'), '') == []


def test_no_folder(tmp_path) -> None:
    with pytest.raises(DataError, match='nowhere does not exist'):
        FolderIndex(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('name', 'answer'),
    [('a.mp4', True), ('A.WEBM', True), ('a.txt', False), ('b/._a.mp4', False), ('.a.ts', False)],
)
def test_is_video(name, answer) -> None:
    assert is_video(name) is answer
