"""A data set of listed videos: what a sample holds, and what is done with broken videos."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

import sta.datasets.decoding
import sta.models  # noqa: F401  (heals the host)
from sta.datasets import transforms  # noqa: F401  (registers them)
from sta.datasets.decoding import PacketIndex
from sta.datasets.transforms import videomae_ssv2_indices
from sta.datasets.video_list import BrokenVideo, VideoListDataset
from sta.errors import DataError
from tests.datasets.movies import BROKEN, frame_numbers, write_av1, write_movie
from tests.datasets.numbered import Kind, make_video


def pipeline(num_clips: int = 1, num_crops: int = 1) -> list[dict]:
    return [
        {'type': 'OpenVideo'},
        {'type': 'ProtocolSampleFrames', 'protocol': 'videomae_ssv2', 'num_clips': num_clips},
        {'type': 'DecodeFrames'},
        {'type': 'ShortSideCrops', 'size': 32, 'num_crops': num_crops},
        {'type': 'FormatShape', 'input_format': 'NCTHW'},
        {'type': 'PackActionInputs'},
    ]


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmaction')


def dataset(folder: Path, *names: str, **settings) -> VideoListDataset:
    return dataset_of(folder, ''.join(f'{name},{i}\n' for i, name in enumerate(names)), **settings)


def dataset_of(folder: Path, text: str, **settings) -> VideoListDataset:
    ann_file = folder / 'list.csv'
    ann_file.write_text(text)
    settings = {
        'data_prefix': {'video': str(folder)},
        'test_mode': True,
        'pipeline': pipeline(),
        **settings,
    }
    return VideoListDataset(ann_file=str(ann_file), **settings)


def entries(videos: VideoListDataset, folder: Path) -> list[tuple[str, int]]:
    infos = [videos.get_data_info(i) for i in range(len(videos))]
    return [(os.path.relpath(info['filename'], folder), info['label']) for info in infos]


def numbers(sample: dict) -> list[int]:
    return frame_numbers(sample['inputs'][0].permute(1, 0, 2, 3).numpy())


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_video_is_left_out_with_its_reason(name: str, tmp_path: Path) -> None:
    write_movie(tmp_path / 'good.mp4', num_frames=16)
    (tmp_path / 'same.mp4').symlink_to(tmp_path / 'good.mp4')
    make, reason = BROKEN[name]
    make(tmp_path / name)
    videos = dataset(tmp_path, 'good.mp4', name, 'same.mp4')
    found = [videos[i] for i in range(3)]
    assert isinstance(found[1], BrokenVideo)
    assert found[1][:3] == (1, str(tmp_path / name), 1)
    assert reason in found[1].reason and found[1].reason
    for i in (0, 2):
        assert numbers(found[i]) == [*range(16)]
        assert (found[i]['data_samples'].index, found[i]['data_samples'].decoder) == (i, 'pyav')


@pytest.mark.parametrize('name', ['cut.mp4', 'empty.mp4', 'text.mp4', 'missing.mp4'])
def test_the_policy_error_names_the_file(name: str, tmp_path: Path) -> None:
    make, reason = BROKEN[name]
    make(tmp_path / name)
    videos = dataset(tmp_path, name, on_broken='error')
    with pytest.raises(DataError) as caught:
        videos[0]
    message = str(caught.value)
    assert message.startswith(f'video {tmp_path / name} cannot be used: it ') or reason in message
    assert reason in message and '\n' not in message


def test_what_had_to_be_counted_and_what_decord_does_not_know(
    tmp_path: Path,
) -> None:
    make_video(Kind('mpeg4', '.avi', b_frames=2), tmp_path)
    write_av1(tmp_path / 'new.mp4', num_frames=16)
    counted, new = dataset(tmp_path, 'video.avi', 'new.mp4')
    assert counted['data_samples'].decoder == 'pyav (counted)'
    assert new['data_samples'].decoder == 'pyav' and numbers(new) == [*range(16)]
    found = dataset(tmp_path, 'new.mp4', decoders=['decord'])[0]
    assert found.reason.startswith('decord cannot decode it: ')  # only the named ones are tried


def test_frames_are_chosen_anew_where_packets_announced_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_movie(tmp_path / 'good.mp4', num_frames=16)
    true_index = sta.datasets.decoding.packet_index

    def twice_as_many(*stream: object) -> PacketIndex:
        index = true_index(*stream)
        behind = (index.times[-1] + number for number in range(1, 17))
        return PacketIndex((*index.times, *behind), index.keys)

    monkeypatch.setattr(sta.datasets.decoding, 'packet_index', twice_as_many)
    sample = dataset(tmp_path, 'good.mp4')[0]
    assert numbers(sample) == [*range(16)]
    assert sample['data_samples'].decoder == 'pyav (counted)'


@pytest.mark.parametrize('decoders', [['pyav'], ['decord'], ('pyav', 'decord'), 'decord'])
def test_the_decoders_are_a_setting(decoders: list[str], tmp_path: Path) -> None:
    write_movie(tmp_path / 'good.mp4', num_frames=16)
    sample = dataset(tmp_path, 'good.mp4', decoders=decoders)[0]
    assert numbers(sample) == [*range(16)]
    assert sample['data_samples'].decoder == ('decord' if decoders == 'decord' else decoders[0])


@pytest.mark.parametrize('workers', [0, 2])
def test_a_decoder_that_hangs_is_given_up(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        write_movie(tmp_path / f'{i}.mp4', num_frames=16)
    frames = sta.datasets.decoding.PyAVReader.frames

    def hang(reader, indices):
        if len(reader) and '2.mp4' in hanging:
            time.sleep(600)
        return frames(reader, indices)

    hanging: list[str] = []
    opened = sta.datasets.decoding.PyAVReader.__init__

    def note(reader, path, num_threads=1, **settings):
        hanging[:] = [os.path.basename(path)]
        opened(reader, path, num_threads, **settings)

    monkeypatch.setattr(sta.datasets.decoding.PyAVReader, '__init__', note)
    monkeypatch.setattr(sta.datasets.decoding.PyAVReader, 'frames', hang)
    names = [f'{i}.mp4' for i in range(4)]
    for decoders, decoder in ((['pyav', 'decord'], 'decord'), (['pyav'], None)):
        videos = dataset(tmp_path, *names, decoders=decoders, time_limit_s=1)
        loader = DataLoader(videos, batch_size=1, num_workers=workers, collate_fn=lambda b: b[0])
        found = list(loader)
        assert [numbers(found[i]) for i in (0, 1, 3)] == [[*range(16)]] * 3
        if decoder is None:
            assert found[2].reason == 'it was given up after 1 s'
        else:
            assert found[2]['data_samples'].decoder == decoder
            assert numbers(found[2]) == [*range(16)]


def test_a_decoder_that_crashes_ends_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_movie(tmp_path / 'good.mp4', num_frames=16)
    monkeypatch.setattr(sta.datasets.decoding.PyAVReader, 'frames', lambda *_: os.abort())
    videos = dataset(tmp_path, 'good.mp4')
    assert videos[0].reason == 'the decoder crashed (SIGABRT)'
    both = dataset(tmp_path, 'good.mp4', decoders=['pyav', 'decord'])
    assert numbers(both[0]) == [*range(16)]


def test_training_takes_another_video_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    write_movie(tmp_path / 'good.mp4', num_frames=16)
    (tmp_path / 'empty.mp4').touch()
    np.random.seed(1)
    videos = dataset(tmp_path, 'good.mp4', 'empty.mp4', test_mode=False)
    assert videos[1]['data_samples'].filename == str(tmp_path / 'good.mp4')
    said = capfd.readouterr().err.splitlines()
    assert said[0] == f'left out of training: {tmp_path / "empty.mp4"}: it is empty (0 bytes)'


def test_training_on_nothing_but_broken_videos_ends(tmp_path: Path) -> None:
    (tmp_path / 'empty.mp4').touch()
    with pytest.raises(DataError, match='20 videos in a row'):
        dataset(tmp_path, 'empty.mp4', test_mode=False)[0]


def test_training_under_the_policy_error(tmp_path: Path) -> None:
    (tmp_path / 'empty.mp4').touch()
    with pytest.raises(DataError, match='empty.mp4 cannot be used: it is empty'):
        dataset(tmp_path, 'empty.mp4', test_mode=False, on_broken='error')[0]


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(on_broken='ignore'), r"on_broken must be one of \['skip', 'error'\], got 'ignore'"),
        (dict(decoders=['opencv']), r"decoders must be one or several of .* got \['opencv'\]"),
        (dict(decoders='opencv'), r"decoders must be one or several of .* got \['opencv'\]"),
        (dict(decoders=[]), 'decoders must be one or several of'),
        (dict(max_videos=0), '^max_videos must be at least 1, got 0$'),
        (dict(max_videos=-1), '^max_videos must be at least 1, got -1$'),
        (dict(time_limit_s=0), 'time_limit_s must be a positive number, got 0'),
        (dict(time_limit_s='60'), "time_limit_s must be a positive number, got '60'"),
        (dict(classes='kinetics400', num_classes=10), 'num_classes is 10, but .* has 400 names'),
        (dict(classes='nowhere.txt'), 'class list nowhere.txt cannot be read'),
    ],
)
def test_settings_that_cannot_be(settings: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        dataset(tmp_path, 'a.mp4', **settings)


def test_class_names(tmp_path: Path) -> None:
    assert dataset(tmp_path, 'a.mp4').class_names is None
    assert dataset(tmp_path, 'a.mp4', classes='ssv2').class_names[173].startswith('Wiping')


def test_absolute_paths_and_no_folder(tmp_path) -> None:
    videos = dataset_of(tmp_path, '/films/a.mp4 1\nb.mp4 2', data_prefix=None)
    names = [videos.get_data_info(i)['filename'] for i in range(2)]
    assert names == ['/films/a.mp4', 'b.mp4']


def test_max_videos_are_a_fixed_sample_in_the_order_of_the_list(tmp_path) -> None:
    """A smaller sample is part of a larger one; and lists that take turns lose no class."""
    text = '\n'.join(f'v{i}.mp4 {i % 4}' for i in range(200))
    samples = {
        number: entries(dataset_of(tmp_path, text, max_videos=number), tmp_path)
        for number in (1, 20, 50, 100, 200, 500, None)
    }
    whole = [(f'v{i}.mp4', i % 4) for i in range(200)]
    assert samples[200] == samples[500] == samples[None] == whole
    for smaller, larger in ((1, 20), (20, 50), (50, 100)):
        assert len(samples[smaller]) == smaller
        assert set(samples[smaller]) < set(samples[larger])
        assert samples[smaller] == [entry for entry in whole if entry in samples[smaller]]
    labels = [label for _, label in samples[100]]
    assert all(15 <= labels.count(label) <= 35 for label in range(4))
    again = dataset_of(tmp_path, text, max_videos=20)
    assert entries(again, tmp_path) == samples[20]


def test_the_list_is_checked_against_the_classes(tmp_path) -> None:
    with pytest.raises(DataError, match='label 400 is not between 0 and 399'):
        dataset_of(tmp_path, 'a.mp4 400', num_classes=400)
    for settings in (dict(num_classes=400), dict(classes='kinetics400')):
        assert len(dataset_of(tmp_path, 'archery/0.mp4 5\nabseiling/1.mp4 0\n', **settings)) == 2
        with pytest.raises(DataError, match='labels must follow the order of these names'):
            dataset_of(tmp_path, 'archery/0.mp4 0\nabseiling/1.mp4 5\n', **settings)


def test_missing_files_are_listed(tmp_path) -> None:
    (tmp_path / 'b c.mp4').touch()
    (tmp_path / 'folder.mp4').mkdir()
    videos = dataset_of(tmp_path, 'a.mp4 1\nb c.mp4 1\nfolder.mp4 1\nd.mp4 2')
    names = [os.path.relpath(name, tmp_path) for name in videos.missing_files()]
    assert names == ['a.mp4', 'folder.mp4', 'd.mp4']
    assert dataset_of(tmp_path, 'b c.mp4 1').missing_files() == []


def test_a_sample_holds_views_label_and_where_it_came_from(tmp_path) -> None:
    for name, num_frames in (('a b/one.mp4', 12), ('two.mp4', 40)):
        write_movie(tmp_path / name, num_frames=num_frames)
    videos = dataset_of(
        tmp_path, 'a b/one.mp4 3\ntwo.mp4 8', pipeline=pipeline(num_clips=2, num_crops=3)
    )
    for index, (name, label, num_frames) in enumerate([('a b/one.mp4', 3, 12), ('two.mp4', 8, 40)]):
        sample = videos[index]
        assert tuple(sample['inputs'].shape) == (6, 3, 16, 32, 32)
        assert sample['data_samples'].gt_label.tolist() == [label]
        assert sample['data_samples'].index == index
        assert sample['data_samples'].filename == str(tmp_path / name)
        # views: the two clips of the first crop, then those of the second and third
        clips = videomae_ssv2_indices(num_frames).tolist()
        for view, frames in enumerate(sample['inputs'].permute(0, 2, 1, 3, 4).numpy()):
            assert frame_numbers(frames) == clips[view % 2]


def test_indices_refer_to_the_shortened_list(tmp_path) -> None:
    for i in range(4):
        write_movie(tmp_path / f'v{i}.mp4', num_frames=2)
    videos = dataset_of(tmp_path, '\n'.join(f'v{i}.mp4 {i}' for i in range(4)), max_videos=2)
    expected = videos.get_data_info(1)
    sample = videos[1]['data_samples']
    assert (sample.index, sample.filename) == (1, expected['filename'])
    assert sample.gt_label.tolist() == [expected['label']]
    assert expected['label'] != 1  # else the whole list would do as well
