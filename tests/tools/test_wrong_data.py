"""Lists and videos that cannot be used end the evaluation with one clear line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from .tiny import Tiny, run_tool

Refused = Callable[..., str]
Listed = Callable[..., Path]


@pytest.fixture
def listed(tmp_path: Path, child: Callable[..., Path]) -> Listed:
    """A config whose annotation file holds this."""

    def make(content: str | bytes, more: str = '', of_data: str = '') -> Path:
        path = tmp_path / 'list.txt'
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        data = f'dict(ann_file={str(path)!r}{of_data})'
        return child(f'test_dataloader = dict(dataset={data}{more})')

    return make


def test_a_missing_list(refused: Refused, child: Callable[..., Path]) -> None:
    wrong = child('test_dataloader = dict(dataset=dict(ann_file="nowhere/val.txt"))')
    refused('test', wrong, said=('annotation file nowhere/val.txt does not exist', 'path label'))


@pytest.mark.parametrize('content', ['', '\n  \n\n'], ids=['nothing', 'blank lines'])
def test_an_empty_list(refused: Refused, listed: Listed, tmp_path: Path, content: str) -> None:
    refused('test', listed(content), said=(str(tmp_path / 'list.txt'), 'is empty'))


@pytest.mark.parametrize('line', ['clip 1.mp4', 'clip 1.mp4 one', 'clip 1.mp4 1.5', '3'])
def test_a_bad_line(refused: Refused, listed: Listed, line: str) -> None:
    wrong = listed(f'clip 0.mp4 3\n\n{line}\n')
    refused('test', wrong, said=('list.txt, line 3', "'path label'", repr(line)))


@pytest.mark.parametrize('label', [7, -1])
def test_a_label_out_of_range(refused: Refused, listed: Listed, label: int) -> None:
    wrong = listed(f'clip 0.mp4 6\nclip 1.mp4 {label}\n')
    refused('test', wrong, said=('list.txt, line 2', f'label {label}', 'between 0 and 6'))


def test_a_list_that_is_no_text(refused: Refused, listed: Listed) -> None:
    refused('test', listed(b'\x00\xa0\xff' * 30), said=('list.txt',))


@pytest.mark.parametrize(
    ('content', 'more', 'said'),
    [
        (b'a.mp4 3\n./a.mp4 4\n', '', ('a.mp4, also called ./a.mp4, has label 3 in line 1',)),
        (gzip.compress(b'a.mp4 3\na.mp4 4\n', mtime=0), '', ('a.mp4 has label 3 in line 1',)),
        ('a.mp4 3\n'.encode('utf-16'), '', ('list.txt is not UTF-8 text but UTF-16',)),
        (
            b'run/a.mp4 3\nsit/b.mp4 1\n',
            ", classes='names.txt'",
            ('run/a.mp4 has label 3', 'follow the'),
        ),
    ],
)
def test_a_list_that_contradicts_itself(
    refused: Refused, listed: Listed, content: bytes, more: str, said: tuple
) -> None:
    Path('names.txt').write_text('\n'.join(['run', 'sit', *'abcde']))
    refused('test', listed(content, of_data=more), said=said)


def test_a_class_list_that_cannot_be_read(refused: Refused, listed: Listed) -> None:
    Path('names.txt').write_bytes(b'caf\xe9\n')
    config = listed('a.mp4 3\n', of_data=", classes='names.txt'")
    refused('test', config, said=('class list names.txt is not UTF-8 text', 'in line 1'))


def test_labels_beyond_the_classes_of_the_model(
    refused: Refused, child: Callable[..., Path]
) -> None:
    wrong = child(
        'model = dict(cls_head=dict(num_classes=3))\n'
        'test_dataloader = dict(dataset=dict(num_classes=None))'
    )
    refused('test', wrong, said=('label', '3'))


def test_a_missing_folder_of_videos(refused: Refused, child: Callable[..., Path]) -> None:
    wrong = child('test_dataloader = dict(dataset=dict(data_prefix=dict(video="nowhere")))')
    refused('test', wrong, said=('7 of 7 videos', 'nowhere/clip 0.mp4', 'data_prefix'))


STRICT = ", on_broken='error'"


def test_a_missing_video(refused: Refused, listed: Listed) -> None:
    wrong = listed('clip 0.mp4 6\nclip 9.mp4 1\n', of_data=STRICT)
    refused('test', wrong, said=('1 of 2 videos', 'clip 9.mp4'))


@pytest.mark.parametrize(
    ('damage', 'workers'), [('noise', 0), ('cut', 0), ('empty', 0), ('noise', 1)]
)
def test_a_damaged_video(
    refused: Refused, tiny: Tiny, listed: Listed, tmp_path: Path, damage: str, workers: int
) -> None:
    whole = (tiny.folder / 'videos' / tiny.names[0]).read_bytes()
    contents = {'noise': b'not a video' * 50, 'cut': whole[: len(whole) // 2], 'empty': b''}
    wrong = tmp_path / 'damaged.mp4'
    wrong.write_bytes(contents[damage])
    text = f'{tiny.names[0]} 3\n{wrong} 1\n'
    config = listed(text, f', num_workers={workers}', of_data=STRICT)
    refused('test', config, said=(f'video {wrong} cannot be used',))


def test_nothing_but_damaged_videos_leave_one_line_of_all_libraries(
    listed: Listed, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """FFmpeg and decord, which write lines of their own, included."""
    for i in range(3):
        (tmp_path / f'{i}.mp4').write_bytes(b'not a video' * 50)
    config = listed(''.join(f'{tmp_path}/{i}.mp4 1\n' for i in range(3)))
    assert run_tool('test', config) == 2
    error = capfd.readouterr().err
    assert 'none of the 3 videos can be used; the first is ' in error
    assert [line for line in error.splitlines() if not line.startswith('evaluated 3/3')] == [
        f'error: none of the 3 videos can be used; the first is {tmp_path}/0.mp4: it cannot be '
        f'decoded: invalid data found when processing input'
    ]


@pytest.mark.parametrize(
    ('setting', 'said'),
    [
        ("on_broken='ignore'", "one of ['skip', 'error'], got 'ignore'"),
        ("decoders=['opencv']", "got ['opencv']"),
        ('time_limit_s=-1', 'positive number, got -1'),
        ("classes='kinetics'", 'class list kinetics cannot be read'),
        ("classes='ssv2'", 'num_classes is 7, but the class list ssv2 has 174 names'),
    ],
)
def test_settings_of_the_data_set_that_cannot_be(
    refused: Refused, child: Callable[..., Path], setting: str, said: str
) -> None:
    refused('test', child(f'test_dataloader = dict(dataset=dict({setting}))'), said=(said,))
