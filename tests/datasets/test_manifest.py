"""The csv of a scan: what is written can be read, whatever has happened to it in between."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sta.datasets.preparation.scan import COLUMNS, Manifest, ManifestLine, VideoScan
from sta.errors import DataError

GOOD = VideoScan('a, b/"c".mp4', 12, 1700000000.1234567, 30, 64, 48, 29.97, 'h264', 'pyav', '', 3)
BROKEN = VideoScan('größe.mp4', 5, 2.5, reason='decord: no, "never"; pyav: neither')
LINES = (ManifestLine(3, 'arm wrestling', GOOD), ManifestLine(0, 'it, "quoted"', BROKEN))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / 'manifest.csv'


def test_columns() -> None:
    assert ','.join(COLUMNS) == (
        'path,label,class,bytes,mtime,frames,width,height,fps,codec,decoder,reason,decoded'
    )


def test_there_is_none_yet(path) -> None:
    assert Manifest(path).known == {} and not path.exists()


def test_what_is_written_is_read(path) -> None:
    Manifest(path).replace(LINES)
    assert Manifest(path).known == {GOOD.path: GOOD, BROKEN.path: BROKEN}
    with open(path, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    assert rows[0]['class'] == 'arm wrestling' and rows[1]['reason'] == BROKEN.reason
    assert [path.name for path in path.parent.iterdir()] == ['manifest.csv']


def test_every_line_is_on_disk_at_once(path) -> None:
    with Manifest(path).appending() as append:
        for number, line in enumerate(LINES, 1):
            append(line)
            assert len(Manifest(path).known) == number


def test_appending_keeps_what_was_there_and_the_later_line_holds(path) -> None:
    Manifest(path).replace(LINES)
    changed = GOOD._replace(bytes=99)
    with Manifest(path).appending() as append:
        append(ManifestLine(3, 'arm wrestling', changed))
    assert Manifest(path).known == {GOOD.path: changed, BROKEN.path: BROKEN}


@pytest.mark.parametrize('cut', [1, 2, 10, 30, 40, 60])
def test_a_line_that_was_cut_off_is_passed_over_and_mended(path, cut) -> None:
    Manifest(path).replace(LINES)
    path.write_bytes(path.read_bytes()[:-cut])
    known = Manifest(path).known
    assert known[GOOD.path] == GOOD
    assert known.get(BROKEN.path) in (None, BROKEN)
    with Manifest(path).appending() as append:
        append(LINES[1])
    assert Manifest(path).known == {GOOD.path: GOOD, BROKEN.path: BROKEN}


def test_a_damaged_number_is_scanned_again(path) -> None:
    Manifest(path).replace(LINES)
    path.write_text(path.read_text().replace(',30,64,', ',3x0,64,'))
    assert list(Manifest(path).known) == [BROKEN.path]


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'path,label\na.mp4,1\n', 'of another kind.*path,label,class,bytes'),
        (b'\xff\xfe\x00', 'cannot be read'),
    ],
)
def test_another_file_of_that_name_is_refused(path, content, said) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        Manifest(path)
    assert path.read_bytes() == content
