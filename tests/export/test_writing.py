"""Where an export may be written is settled before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.errors import ExportError
from sta.export import check_target


@pytest.mark.parametrize('name', ['m.onnx', 'm.onnx.data', 'm.onnx.json'])
def test_nothing_that_exists_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('mine')
    with pytest.raises(ExportError, match=f'{name} exists already'):
        check_target(tmp_path / 'm.onnx', 'onnx')
    assert (tmp_path / name).read_text() == 'mine'


def test_a_link_to_nothing_is_something(tmp_path: Path) -> None:
    (tmp_path / 'm.onnx').symlink_to('gone')
    with pytest.raises(ExportError, match='m.onnx exists already'):
        check_target(tmp_path / 'm.onnx', 'onnx')


def test_a_pt2_has_no_weights_beside_it(tmp_path: Path) -> None:
    (tmp_path / 'm.pt2.data').write_text('somebody else')
    check_target(tmp_path / 'm.pt2', 'pt2')


def test_folders_that_are_missing_will_do_and_are_not_made_yet(tmp_path: Path) -> None:
    check_target(tmp_path / 'new' / 'newer' / 'm.onnx', 'onnx')
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_or_takes_none_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    for out, folder in (
        (tmp_path / 'file' / 'deep' / 'm.onnx', tmp_path / 'file'),
        (Path('/proc/m.onnx'), Path('/proc')),
    ):
        with pytest.raises(ExportError) as refused:
            check_target(out, 'onnx')
        said = f'{out} cannot be written: nothing can be made in {folder} ('
        assert str(refused.value).startswith(said)
