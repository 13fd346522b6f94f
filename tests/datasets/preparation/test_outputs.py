"""Lists are read back as they were meant, and nothing is written over by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.datasets.annotations import Annotation, list_text, read_annotations
from sta.datasets.preparation.prepare import Outputs
from sta.errors import DataError


@pytest.mark.parametrize(
    'path',
    ['a.mp4', 'a b/c, d.mp4', 'größe.mp4', 'a 3', "it's.mp4", 'a"b".mp4', '-x.mp4', '/a/b.mp4'],
)
def test_paths_that_can_stand_in_a_list(tmp_path, path) -> None:
    videos = [Annotation(path, 7), Annotation('z.mp4', 0)]
    (tmp_path / 'list.txt').write_text(list_text(videos), encoding='utf-8')
    assert read_annotations(tmp_path / 'list.txt') == videos


@pytest.mark.parametrize(
    'path', [' a.mp4', 'a\nb.mp4', 'a\u2028b.mp4', '"a.mp4"', 'a\rb.mp4', 'a \udcff.mp4', 'a.mp4,']
)
def test_paths_that_would_be_misread(path) -> None:
    with pytest.raises(DataError, match='cannot stand in a list') as error:
        list_text([Annotation('good.mp4', 1), Annotation(path, 2)])
    assert repr(path) in str(error.value)


@pytest.mark.parametrize('name', ['x_list_videos.txt', 'x_excluded.csv', 'config.py'])
def test_earlier_files_need_force(tmp_path, name) -> None:
    outputs = Outputs(tmp_path, 'x_', more=('config.py',))
    outputs.refuse_loss(force=False)
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f'{name} is there.*--force'):
        outputs.refuse_loss(force=False)
    outputs.refuse_loss(force=True)
    Outputs(tmp_path, 'y_').refuse_loss(force=False)


def test_an_earlier_manifest_needs_none(tmp_path) -> None:
    outputs = Outputs(tmp_path / 'new' / 'folder')
    outputs.refuse_loss(force=False)
    outputs.folder.mkdir(parents=True)
    outputs.manifest_file.touch()
    outputs.refuse_loss(force=False)


def test_a_file_in_place_of_the_folder(tmp_path) -> None:
    Path(tmp_path / 'file').touch()
    with pytest.raises(DataError, match='file is a file, not a folder'):
        Outputs(tmp_path / 'file').refuse_loss(force=True)
