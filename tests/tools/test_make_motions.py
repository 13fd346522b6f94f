"""The command that renders the embedded data set: what it writes and how it refuses."""

from __future__ import annotations

import cv2
import pytest

from .tiny import run_tool


def test_it_writes_a_split_and_says_so(tmp_path, capsys) -> None:
    arguments = ('--split', 'val', '--num-clips', 10, '--size', 64, '--workers', 1)
    assert run_tool('make_motions', *arguments, '--out', tmp_path / 'out') == 0
    assert '10 clips in' in capsys.readouterr().out
    assert len((tmp_path / 'out' / 'val.txt').read_text().splitlines()) == 10
    assert run_tool('make_motions', *arguments, '--out', tmp_path / 'out') == 0
    assert '10 were there' in capsys.readouterr().out


def test_the_preview_has_a_row_for_each_class(tmp_path) -> None:
    path = tmp_path / 'sheet.png'
    assert run_tool('make_motions', '--split', 'train', '--size', 64, '--preview', path) == 0
    sheet = cv2.imread(str(path))
    assert sheet.shape == (10 * 67, 210 + 8 * 67, 3)
    labels = sheet[:, :210].reshape(10, 67, 210, 3)
    assert (labels.min(axis=(1, 2, 3)) < 64).all()  # something is written beside each row
    assert (labels[:, :, -12:] > 200).all()  # and not up to the edge
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--split', 'val', '--num-clips', '-10'), ('clips', '-10')),
        (('--split', 'val', '--num-clips', '15'), ('multiple of 10', '15')),
        (('--split', 'val', '--num-clips', 'many'), ('--num-clips', 'many')),
        (('--split', 'test'), ('--split', 'test')),
        (('--num-clips', '10'), ('--split',)),
        (('--split', 'val', '--seed', '-1'), ('seed', '-1')),
        (('--split', 'val', '--size', '70'), ('multiple of 16', '70')),
        (('--split', 'val', '--workers', '0'), ('workers', '0')),
        (('--split', 'val', '--out', ''), ('argument 4 (behind --out) is empty',)),
        (('--split', 'val', '--preview='), ('argument 3 (behind --preview) is empty',)),
        (('--split', 'val', '--size', '64', '--preview', 'no/such/folder.png'), ('no/such',)),
    ],
)
def test_wrong_arguments_are_one_line(refused, arguments, said) -> None:
    refused('make_motions', *arguments, said=said)


def test_a_folder_that_cannot_be_written_is_one_line(refused, tmp_path) -> None:
    (tmp_path / 'file').touch()
    arguments = ('--split', 'val', '--num-clips', '10', '--out', 'file/motions')
    refused('make_motions', *arguments, said=('cannot write', 'file/motions'))
