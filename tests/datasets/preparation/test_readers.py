"""Annotation files as they are in circulation: which videos and labels are read from them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sta.datasets.annotations import ClassLookup, count
from sta.datasets.preparation.matching import Annotations, Excluded, Wanted
from sta.datasets.preparation.readers import (
    check_labels,
    is_list,
    read_json,
    read_kinetics400,
    read_list,
    read_table,
)
from sta.errors import DataError


def write(folder: Path, text: str) -> Path:
    path = folder / 'file.csv'
    path.write_bytes(text.encode())
    return path


class TestKinetics:
    def read(self, folder: Path, *lines: str, **settings) -> tuple[Wanted, ...]:
        return read_kinetics400(write(folder, '\n'.join(lines)), **settings).wanted

    def test_names_of_the_files(self, tmp_path) -> None:
        header = 'label,youtube_id,time_start,time_end'
        found = self.read(tmp_path, header, 'zumba,-a_,7,17', 'Air_Drumming,b,100.0,110')
        assert found == (
            Wanted('-a__000007_000017.mp4', 399, ('-a__000007_000017', '-a_')),
            Wanted('b_000100_000110.mp4', 1, ('b_000100_000110', 'b')),
        )

    def test_an_id_with_two_segments_needs_the_times(self, tmp_path) -> None:
        header = 'label,youtube_id,time_start,time_end'
        found = self.read(tmp_path, header, 'zumba,a,7,17', 'zumba,a,20,30', 'zumba,a,7,17')
        assert [video.stems for video in found] == [('a_000007_000017',), ('a_000020_000030',)]

    def test_a_row_that_stands_twice_is_one_segment(self, tmp_path) -> None:
        header = 'label,youtube_id,time_start,time_end'
        [video] = self.read(tmp_path, header, 'zumba,a,7,17', 'zumba,a,7,17')
        assert video.stems == ('a_000007_000017', 'a')

    def test_order_of_columns_marks_and_line_ends(self, tmp_path) -> None:
        text = '\ufeffSplit,time_end,time_start,youtube_id,label\r\nval,9,0,x,"zumba"\r\n\r\n'
        [video] = read_kinetics400(write(tmp_path, text)).wanted
        assert video[:2] == ('x_000000_000009.mp4', 399)

    @pytest.mark.parametrize('word', ['val', 'validate', 'Validation'])
    def test_splits(self, tmp_path, word) -> None:
        header = 'label,youtube_id,time_start,time_end,split'
        lines = (header, f'zumba,x,1,2,{word}', 'zumba,y,1,2,train', 'zumba,z,1,2,test')
        assert [video.stems[1] for video in self.read(tmp_path, *lines)] == ['x']
        assert [video.stems[1] for video in self.read(tmp_path, *lines, split='test')] == ['z']


class TestLists:
    CLASSES = ClassLookup(['air drumming', 'bowling', 'curling'], 'mine')

    def test_stems_where_they_say_which_video(self, tmp_path) -> None:
        path = write(tmp_path, '/x/./1.mp4 0\n/y/1.mp4 1\n/y/2.mp4 2\n/y/2.mp4 2\n')
        found = read_list(path, self.CLASSES)
        assert found.wanted == (
            Wanted('/x/1.mp4', 0, (), '/x/1.mp4'),
            Wanted('/y/1.mp4', 1, (), '/y/1.mp4'),
            Wanted('/y/2.mp4', 2, ('2',), '/y/2.mp4'),
        )
        assert found.notes == (f'1 x {path} names a video again',)

    def test_labels_that_follow_another_order(self, tmp_path) -> None:
        path = write(tmp_path, 'Air_Drumming/1.mp4 0\nbowling/2.mp4 2\nother/3.mp4 1\n')
        with pytest.raises(DataError, match='1 of 3 labels contradict.*bowling/2.mp4 has label 2'):
            read_list(path, self.CLASSES)

    @pytest.mark.parametrize(
        ('text', 'answer'),
        [
            ('\n a b.mp4 3\nanything', True),
            ('a.mp4,3', True),
            ('"a b.mp4" 3', True),
            ('a.mp4\t3', True),
            ('zumba,id.mp4x,3,13', False),
            ('frames_of_a 300 3', False),
            ('run/AbC-_1_000001_000011 3', True),
            ('label,youtube_id', False),
            ('', False),
        ],
    )
    def test_what_is_a_list(self, tmp_path, text, answer) -> None:
        assert is_list(write(tmp_path, text)) is answer


class TestTables:
    @pytest.mark.parametrize('mark', [',', ';', '\t'])
    def test_separators_quotes_and_blanks(self, tmp_path, mark) -> None:
        text = mark.join(['a', ' "b, ""c""; d"', ' e ']) + '\r\n\r\n' + mark * 2 + '\n1'
        rows = read_table(write(tmp_path, text))
        assert rows == [(1, ('a', 'b, "c"; d', 'e')), (4, ('1',))]

    @pytest.mark.parametrize(
        ('content', 'said'),
        [
            (b'\xff\xfea\x00', 'not UTF-8'),
            (b'', 'is empty'),
            (b' \n,,\n', 'is empty'),
            (gzip.compress(b'a,b', mtime=0)[:-4], 'no whole gzip file'),
        ],
    )
    def test_no_table(self, tmp_path, content, said) -> None:
        (tmp_path / 'a.csv').write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_table(tmp_path / 'a.csv')

    def test_what_gzip_has_compressed(self, tmp_path) -> None:
        (tmp_path / 'a.csv.gz').write_bytes(gzip.compress(b'a,b\n', mtime=0))
        assert read_table(tmp_path / 'a.csv.gz') == [(1, ('a', 'b'))]
        (tmp_path / 'a.json.gz').write_bytes(gzip.compress(b'{"a": 1}', mtime=0))
        assert read_json(tmp_path / 'a.json.gz') == {'a': 1}

    def test_a_quotation_mark_that_is_never_closed(self, tmp_path) -> None:
        path = write(tmp_path, 'a,"b\n' + 'c' * 200_000)
        with pytest.raises(DataError, match='is no csv'):
            read_table(path)


def test_repeats() -> None:
    videos = [Wanted(name, label) for name, label in [('a', 1), ('b', 1), ('a', 1), ('b', 0)]]
    found = Annotations.of_lines('list.txt', (), videos)
    assert found.wanted == (Wanted('a', 1),)
    assert found.notes == ('2 x list.txt names a video again',)
    assert found.excluded == (Excluded('b', '', 'it has the labels 0 and 1'),)


def test_official_labels_in_any_order_of_lines() -> None:
    check_labels({'b': '1', 'a': 0}, ('a', 'b'))
    with pytest.raises(DataError, match="'a' has id 1 instead of 0; 'b' has id 0 instead of 1"):
        check_labels({'a': '1', 'b': '0'}, ('a', 'b'))


def test_count() -> None:
    assert [count(n, 'video') for n in (0, 1, 19881)] == ['0 videos', '1 video', '19,881 videos']
    assert count(2, 'class', 'classes') == '2 classes'
