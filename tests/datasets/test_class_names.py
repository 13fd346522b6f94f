"""Class lists: the official ones, and those of other people."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sta.datasets.annotations import read_class_names
from sta.errors import DataError


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
