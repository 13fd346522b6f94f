"""Lists are read back as they were meant, and nothing is written over by mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sta.datasets.annotations import Annotation, read_annotations
from sta.datasets.preparation.prepare import Outputs
from sta.errors import DataError


@pytest.mark.parametrize(
    'path',
    ['a.mp4', 'a b/c, d.mp4', 'größe.mp4', 'a 3', "it's.mp4", 'a"b".mp4', '-x.mp4', '/a/b.mp4'],
)
def test_paths_that_can_stand_in_a_list(tmp_path, path) -> None:
    outputs, videos = Outputs(tmp_path, 'x_'), [Annotation(path, 7), Annotation('z.mp4', 0)]
    outputs.check(videos)
    assert os.listdir(tmp_path) == []
    outputs.write_list(videos)
    assert read_annotations(tmp_path / 'x_list_videos.txt') == videos


@pytest.mark.parametrize(
    'path', [' a.mp4', 'a\nb.mp4', 'a\u2028b.mp4', '"a.mp4"', 'a\rb.mp4', 'a \udcff.mp4', 'a.mp4,']
)
def test_paths_that_would_be_misread(tmp_path, path) -> None:
    with pytest.raises(DataError, match='cannot stand in a list') as error:
        Outputs(tmp_path).check([Annotation('good.mp4', 1), Annotation(path, 2)])
    assert repr(path) in str(error.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('name', ['x_list_videos.txt', 'x_excluded.csv', 'config.py'])
def test_earlier_files_need_force(tmp_path, name) -> None:
    outputs = Outputs(tmp_path, 'x_', more=('config.py',))
    outputs.open(force=False)
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f'{name} is there.*--force'):
        outputs.open(force=False)
    outputs.open(force=True)
    Outputs(tmp_path, 'y_').open(force=False)


def test_an_earlier_manifest_needs_none(tmp_path) -> None:
    outputs = Outputs(tmp_path / 'new' / 'folder')
    outputs.open(force=False)
    outputs.manifest_file.touch()
    outputs.open(force=False)


def test_a_file_in_place_of_the_folder(tmp_path) -> None:
    Path(tmp_path / 'file').touch()
    with pytest.raises(DataError, match='file is a file, not a folder'):
        Outputs(tmp_path / 'file').open(force=True)
