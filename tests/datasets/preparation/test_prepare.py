"""What a preparation writes, what it says, and the command that follows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sta.datasets.annotations import Annotation, list_text, read_annotations
from sta.datasets.preparation.matching import (
    Annotations,
    Excluded,
    FolderIndex,
    Matched,
    Wanted,
    match_files,
)
from sta.datasets.preparation.prepare import (
    Official,
    Outputs,
    Prepared,
    Settings,
    config_text,
    describe,
)
from sta.datasets.preparation.scan import ScanResult, VideoScan
from sta.errors import DataError


def prepared(
    scans: list[VideoScan], *, folder: str = '.', out: str = 'out', num_reused: int = 0, **more
) -> Prepared:
    videos = tuple(Annotation(scan.path, i % 2) for i, scan in enumerate(scans))
    wanted = tuple(Wanted(path, label) for path, label in videos)
    good = tuple(v for v, scan in zip(videos, scans) if not scan.broken)
    facts = dict(
        annotations=Annotations('val.csv', ('run', 'sit'), wanted),
        settings=Settings(),
        outputs=Outputs(Path(out), 'x_val_'),
        folder=Path(folder),
        matched=Matched(videos, (), (), (), ()),
        scan=ScanResult({scan.path: scan for scan in scans}, num_reused, seconds=2.0),
        listed=good,
        excluded=(),
    )
    return Prepared(**{**facts, **more})


def good(name: str, frames: int = 10, **more) -> VideoScan:
    return VideoScan(name, frames=frames, width=64, height=48, decoder='pyav')._replace(**more)


def test_broken_videos_are_counted_by_what_is_wrong() -> None:
    scans = [good(f'{i}.mp4', i) for i in range(1, 8)]
    scans += [VideoScan(f't{i}', reason=f'truncated: {i} of {9 * i} bytes') for i in range(20)]
    scans += [VideoScan('e', reason='it is empty')]
    lines = describe(prepared(scans))
    assert '20 videos broken, e.g. t0: truncated: 0 of 0 bytes' in lines
    assert '1 video broken, e.g. e: it is empty' in lines
    assert '1 to 7 frames, median 4; most often 64 x 48 pixels (7 of 7 videos)' in lines
    assert any(line.startswith('scanned 28 videos in 2 s (14.0 videos/s), first') for line in lines)


def test_more_kinds_than_are_named() -> None:
    scans = [good('a')] + [VideoScan(f'{k}', reason='x' * k) for k in range(1, 8)]
    lines = describe(prepared(scans))
    assert sum('broken, e.g.' in line for line in lines) == 5
    assert '2 videos broken otherwise' in lines


def test_what_was_counted_and_the_larger_size() -> None:
    counted = dict(decoder='pyav (counted)')
    scans = [good('a.avi', codec='mpeg4', **counted), good('b', width=96), good('c')]
    scans += [good('d.ts', codec='h264', **counted), good('e.avi', codec='mpeg4', **counted)]
    lines = describe(prepared(scans), official='official: 7')
    assert 'frames of 3 videos counted by decoding (mpeg4 in .avi: 2, h264 in .ts: 1)' in lines
    assert any('64 x 48 pixels (4 of 5 videos)' in line for line in lines)
    assert lines[-1] == 'official: 7'


def test_what_was_left_out_is_said() -> None:
    matched = Matched(
        found=(Annotation('a', 0),),
        missing=(
            Excluded('m', 1, 'there is no such file'),
            Excluded('d', 1, 'another line names the same file'),
        ),
        chosen=(('a', 'b/a'),),
        unnamed=('u\udcff.mp4', 'v.mp4'),
        outside=('../o.mp4',),
    )
    lines = describe(prepared([good('a')], matched=matched, num_reused=1))
    assert '1 video missing, e.g. m' in lines
    assert '1 video left out because another line names the same file, e.g. d' in lines
    assert '1 video with several files, e.g. a, which was taken, and b/a' in lines
    assert '2 files in the folder named by no annotation, e.g. u\\udcff.mp4' in lines
    assert '1 video outside of the folder, e.g. ../o.mp4' in lines
    assert any(line.endswith('1 known from the manifest') for line in lines)


def test_one_file_is_not_two_videos(tmp_path) -> None:
    (tmp_path / 'a.mp4').touch()
    names = ('a.mp4', str(tmp_path / 'a.mp4'))
    wanted = tuple(Wanted(name, 0, (), name) for name in names)
    matched = match_files(Annotations('l', ('run',), wanted), FolderIndex(tmp_path))
    assert matched.found == (Annotation('a.mp4', 0),)
    assert matched.missing == (Excluded(names[1], 0, 'another line names the same file'),)


@pytest.mark.parametrize(
    ('folder', 'out', 'options'),
    [
        ('data/x/videos', 'data/x', ''),
        ('./data/x/../x/videos/', 'data/x', ''),
        ('films', 'data/x', ' --cfg-options test_dataloader.dataset.data_prefix.video=films'),
        (
            '2024',
            'data/x',
            " --cfg-options 'test_dataloader.dataset.data_prefix.video='\"'\"'2024'\"'\"''",
        ),
        (
            'data/x/videos',
            'o',
            ' --cfg-options test_dataloader.dataset.ann_file=o/x_val_list_videos.txt',
        ),
    ],
)
def test_the_command(tmp_path, monkeypatch, folder, out, options) -> None:
    monkeypatch.chdir(tmp_path)
    os.makedirs('data/x')
    os.makedirs(folder)
    done = prepared([good('a')], folder=folder, out=out)
    monkeypatch.setattr('sta.datasets.preparation.prepare.REPOSITORY', tmp_path)
    official = Official('x', 'c.py', 'data/x', 'data/x/videos', published='')
    assert official.command(done) == f'python tools/test.py c.py CHECKPOINT{options}'


def test_a_config_with_odd_paths(tmp_path, monkeypatch) -> None:
    odd = tmp_path / 'it\'s "odd" {here}'
    odd.mkdir()
    (odd / 'classes.txt').touch()
    done = prepared([good('a')], folder=odd, out=odd)
    values: dict = {}
    classes = str(odd / 'classes.txt')
    text = config_text(done, base='configs/b.py', classes=classes, part=None)
    exec(text, values)
    assert values['_base_'] == os.path.abspath('configs/b.py')
    found = values['test_dataloader']['dataset']
    assert found['data_prefix'] == {'video': str(odd)}
    assert found['ann_file'] == str(odd / 'x_val_list_videos.txt')
    assert found['classes'] == str(odd / 'classes.txt') and found['num_classes'] == 2


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
