"""From the official csv of Kinetics-400 to a list, and every way to get it wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .preparation import KINETICS_HEADER, listed, table, write_lines, write_videos
from .tiny import run_tool

ROWS = (
    '"arm wrestling",--07WQ2iBlw,1,11,validate,0',
    'playing violin,abc_DEF-123,10,20,validate,1',
    'zumba,zzzzzzzzzzz,3,13,validate,0',
)
FILES = (
    'arm_wrestling/--07WQ2iBlw_000001_000011.mp4',
    'playing violin/abc_DEF-123.mkv',
    'zzzzzzzzzzz_000003_000013.mp4',
)
LISTED = [(FILES[0], 6), (FILES[1], 250), (FILES[2], 399)]


@pytest.fixture
def official(tmp_path) -> Path:
    return write_lines(tmp_path / 'val.csv', KINETICS_HEADER, *ROWS)


def prepare(annotations: Path, *more: object, videos: str = 'videos') -> int:
    arguments = ('--videos', videos, '--out', 'out', '--workers', 1, *more)
    return run_tool('prepare_kinetics400', annotations, *arguments)


def list_of(folder: str = 'out', split: str = 'val') -> list[tuple[str, int]]:
    return listed(Path(folder, f'kinetics400_{split}_list_videos.txt'))


def test_flat_or_in_class_folders(official, tmp_path, capsys) -> None:
    write_videos(tmp_path / 'videos', *FILES)
    assert prepare(official) == 0
    assert list_of() == LISTED
    assert table(Path('out/kinetics400_val_excluded.csv')) == []
    manifest = table(Path('out/kinetics400_val_manifest.csv'))
    assert [row['path'] for row in manifest] == list(FILES)
    assert [row['frames'] for row in manifest] == ['5', '6', '7']
    assert [row['class'] for row in manifest] == ['arm wrestling', 'playing violin', 'zumba']
    said = capsys.readouterr().out
    assert '3 videos, 3 found in videos' in said and '5 to 7 frames, median 6' in said
    assert '3 of 400 classes occur' in said and '19,881' in said and '19,796' in said


def test_the_next_command_names_what_differs_from_the_config(official, tmp_path, capsys) -> None:
    write_videos(tmp_path / 'my videos', *FILES)
    assert prepare(official, videos='my videos') == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        'next: python tools/test.py configs/sta_vit_k400.py CHECKPOINT --cfg-options '
        'test_dataloader.dataset.ann_file=out/kinetics400_val_list_videos.txt '
        "'test_dataloader.dataset.data_prefix.video=my videos'"
    )


def test_the_next_command_at_the_default_places(official, tmp_path, capsys, monkeypatch) -> None:
    """The config looks in the repository, wherever the tool is started."""
    videos = write_videos(tmp_path / 'data' / 'kinetics400' / 'videos_val', *FILES)
    tool = ('prepare_kinetics400', official, '--videos', videos, '--no-scan')
    assert run_tool(*tool) == 0
    assert list_of('data/kinetics400') == LISTED
    last = capsys.readouterr().out.splitlines()[-1]
    assert 'ann_file=data/kinetics400/kinetics400_val_list_videos.txt ' in last
    monkeypatch.setattr('sta.datasets.preparation.prepare.REPOSITORY', tmp_path)
    assert run_tool(*tool, '--force') == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == 'next: python tools/test.py configs/sta_vit_k400.py CHECKPOINT'


def test_missing_and_broken_videos_are_left_out_with_reasons(official, tmp_path, capsys) -> None:
    write_videos(tmp_path / 'videos', FILES[0], 'stranger.mp4')
    (tmp_path / 'videos' / FILES[2]).write_bytes(b'')
    assert prepare(official) == 0
    assert list_of() == LISTED[:1]
    assert table(Path('out/kinetics400_val_excluded.csv')) == [
        {
            'path': 'abc_DEF-123_000010_000020.mp4',
            'label': '250',
            'reason': 'there is no such file',
        },
        {'path': FILES[2], 'label': '399', 'reason': 'it is empty (0 bytes)'},
    ]
    said = capsys.readouterr().out
    assert '1 video missing, e.g. abc_DEF-123_000010_000020.mp4' in said
    assert f'1 video broken, e.g. {FILES[2]}: it is empty' in said
    assert '1 file in the folder named by no annotation, e.g. stranger.mp4' in said
    assert "no video is left of 2 classes, e.g. 'playing violin'" in said


def test_keep_broken_keeps_the_broken_not_the_missing(official, tmp_path, capsys) -> None:
    write_videos(tmp_path / 'videos', FILES[0])
    (tmp_path / 'videos' / FILES[2]).write_bytes(b'')
    assert prepare(official, '--keep-broken') == 0
    assert list_of() == [LISTED[0], LISTED[2]]
    assert [row['label'] for row in table(Path('out/kinetics400_val_excluded.csv'))] == ['250']
    assert '--keep-broken' in capsys.readouterr().out


def test_no_scan_looks_into_no_video(official, tmp_path, capsys) -> None:
    for name in FILES:
        (tmp_path / 'videos' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'videos' / name).write_bytes(b'')
    assert prepare(official, '--no-scan') == 0
    assert list_of() == LISTED
    assert not Path('out/kinetics400_val_manifest.csv').exists()
    assert 'not scanned' in capsys.readouterr().out


def test_a_second_run_needs_force_and_scans_only_what_is_new(official, tmp_path, capsys) -> None:
    write_videos(tmp_path / 'videos', *FILES[:2])
    assert prepare(official) == 0
    assert '0 known from the manifest' in capsys.readouterr().out
    write_videos(tmp_path / 'videos', FILES[2])
    assert prepare(official) == 2
    assert '--force' in capsys.readouterr().err
    assert list_of() == LISTED[:2]
    assert prepare(official, '--force') == 0
    assert 'scanned 1 video ' in capsys.readouterr().out
    assert list_of() == LISTED
    (tmp_path / 'videos' / FILES[0]).unlink()
    assert prepare(official, '--force') == 0
    manifest = table(Path('out/kinetics400_val_manifest.csv'))
    assert [row['path'] for row in manifest] == list(FILES[1:])


def test_every_frame(official, tmp_path, capsys) -> None:
    write_videos(tmp_path / 'videos', *FILES)
    assert prepare(official, '--full-decode') == 0
    manifest = table(Path('out/kinetics400_val_manifest.csv'))
    assert [row['decoded'] for row in manifest] == ['5', '6', '7']
    assert 'every frame of each' in capsys.readouterr().out


def test_a_list_of_another_computer(tmp_path, capsys) -> None:
    """VideoMAE's lists hold absolute paths; the class folders may be named in another way."""
    write_videos(tmp_path / 'videos', *FILES)
    lines = (f'/there/{FILES[0]} 6', '/there/playing_violin/abc_DEF-123.mp4,250', 'gone.mp4 3')
    source = write_lines(tmp_path / 'val.txt', *lines)
    assert prepare(source) == 0
    assert list_of() == LISTED[:2]
    assert '1 video missing, e.g. gone.mp4' in capsys.readouterr().out


def test_another_split(tmp_path, capsys) -> None:
    source = write_lines(
        tmp_path / 'all.csv', KINETICS_HEADER, *ROWS, 'zumba,trainvideo1,1,11,train,0'
    )
    write_videos(tmp_path / 'videos', *FILES, 'trainvideo1.webm')
    assert prepare(source, '--split', 'train') == 0
    assert list_of(split='train') == [('trainvideo1.webm', 399)]
    assert '19,881' not in capsys.readouterr().out


def test_an_interrupt_keeps_what_was_found(official, tmp_path, monkeypatch, capsys) -> None:
    from sta.datasets.progress import VideoProgress

    write_videos(tmp_path / 'videos', *FILES)
    true_advance = VideoProgress.advance

    def advance(self: VideoProgress, num_videos: int) -> None:
        true_advance(self, num_videos)
        if self.done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(VideoProgress, 'advance', advance)
    assert prepare(official) == 130
    assert '2 of 3 videos are in out/kinetics400_val_manifest.csv' in capsys.readouterr().err
    assert not Path('out/kinetics400_val_list_videos.txt').exists()
    monkeypatch.setattr(VideoProgress, 'advance', true_advance)
    assert prepare(official) == 0
    assert '2 known from the manifest' in capsys.readouterr().out
    assert list_of() == LISTED


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', ('val.csv is empty',)),
        (b'label,youtube_id,time_start\nzumba,a,1\n', ('first line must name', 'time_end')),
        (b'zumba,zzzzzzzzzzz,3,13\n', ('first line must name', "'zumba,zzzzzzzzzzz,3,13'")),
        (b'youtube_id,time_start,time_end,split\na,1,2,test\n', ('no column label', 'test split')),
        (
            b'label,youtube_id,time_start,time_end\narm wrestlin,a,1,2\nmoonwalking,a,1,2\n',
            ('2 of 2 class names', "'arm wrestlin' (is it 'arm wrestling'?)", "'moonwalking'"),
        ),
        (b'label,youtube_id,time_start,time_end\nzumba,a,one,2\n', ('line 2', 'seconds', 'one')),
        (b'label,youtube_id,time_start,time_end\nzumba,,1,2\n', ('line 2', 'no youtube_id')),
        (b'label,youtube_id,time_start,time_end\nzumba,a,1\n', ('line 2', '3 fields instead of 4')),
        (b'label,youtube_id,time_start,time_end,split\nzumba,a,1,2,train\n', ('val', 'train')),
        (b'label,youtube_id,time_start,time_end\nz\xfcmba,a,1,2\n', ('val.csv is not UTF-8',)),
        (b'zumba/zzzzzzzzzzz.mp4 400\n', ('line 1', 'label 400', 'between 0 and 399')),
        (b'zumba/zzzzzzzzzzz.mp4 6\n', ('1 of 1 labels contradict', "6, 'arm wrestling'", '399')),
        (b'zumba/a.mp4 399\nzumba/b.mp4 x\n', ('line 2', "'path label'")),
    ],
)
def test_annotations_that_cannot_be_used(refused, tmp_path, content, said) -> None:
    (tmp_path / 'val.csv').write_bytes(content)
    (tmp_path / 'videos').mkdir()
    refused('prepare_kinetics400', 'val.csv', '--videos', 'videos', '--out', 'out', said=said)
    assert not Path('out').exists()


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('no.csv', '--videos', 'videos'), ('no.csv', 'No such file')),
        (('videos', '--videos', 'videos'), ('videos', 'Is a directory')),
        (('val.csv', '--videos', 'nowhere'), ('nowhere', 'does not exist')),
        (('val.csv', '--videos', 'val.csv'), ('val.csv', 'is a file, not a folder')),
        (('val.csv', '--videos', 'videos', '--workers', '0'), ('workers', '0')),
        (('val.csv', '--videos', 'videos', '--time-limit', '-1'), ('time limit', '-1')),
        (('val.csv', '--videos', 'videos', '--out', 'val.csv'), ('--out val.csv is a file',)),
        (('val.csv', '--videos', 'videos', '--out', 'val.csv/o'), ('val.csv/o',)),
    ],
)
def test_places_and_numbers_that_cannot_be_used(
    refused, official, tmp_path, arguments, said
) -> None:
    write_videos(tmp_path / 'videos', FILES[0])
    refused('prepare_kinetics400', *arguments, said=said)


@pytest.mark.parametrize(
    ('files', 'broken', 'said'),
    [
        (('other/stranger.mp4',), (), ('holds e.g. other/stranger.mp4', 'none of the 3 videos')),
        ((), (), ('which holds no videos', 'expected e.g. --07WQ2iBlw_000001_000011.mp4')),
        ((), FILES[2:], ('none of the 1 videos', 'it is empty')),
    ],
)
def test_no_video_that_can_be_used_is_found(
    refused, official, tmp_path, files, broken, said
) -> None:
    write_videos(tmp_path / 'videos', *files)
    for name in broken:
        (tmp_path / 'videos' / name).write_bytes(b'')
    arguments = (official, '--videos', 'videos', '--out', 'out')
    refused('prepare_kinetics400', *arguments, said=said)
    assert not Path('out/kinetics400_val_list_videos.txt').exists()


@pytest.mark.skipif(os.getuid() == 0, reason='nothing is forbidden to root')
def test_a_folder_that_may_not_be_read(refused, official, tmp_path) -> None:
    locked = write_videos(tmp_path / 'videos', FILES[0]) / 'locked'
    locked.mkdir(mode=0)
    said = ('cannot look into', 'locked', 'Permission denied')
    refused('prepare_kinetics400', official, '--videos', 'videos', '--out', 'out', said=said)
