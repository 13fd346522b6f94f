"""A file is written whole or not at all."""

from __future__ import annotations

import os

import pytest

from sta.atomic import replacing


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
