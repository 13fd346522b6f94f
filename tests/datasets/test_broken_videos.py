"""What a data set does with videos that cannot be decoded: never a silent substitute."""

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
from sta.datasets.video_list import BrokenVideo, VideoListDataset
from sta.errors import DataError
from tests.datasets.broken import BROKEN, write_av1
from tests.datasets.movies import frame_numbers, write_movie
from tests.datasets.numbered import Kind, make_video

PIPELINE = [
    {'type': 'OpenVideo'},
    {'type': 'ProtocolSampleFrames', 'protocol': 'videomae_ssv2', 'num_clips': 1},
    {'type': 'DecodeFrames'},
    {'type': 'ShortSideCrops', 'size': 32, 'num_crops': 1},
    {'type': 'FormatShape', 'input_format': 'NCTHW'},
    {'type': 'PackActionInputs'},
]


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmaction')


def dataset(folder: Path, *names: str, **settings) -> VideoListDataset:
    ann_file = folder / 'list.csv'
    ann_file.write_text(''.join(f'{name},{i}\n' for i, name in enumerate(names)))
    settings = {'data_prefix': {'video': str(folder)}, 'test_mode': True, **settings}
    return VideoListDataset(ann_file=str(ann_file), pipeline=PIPELINE, **settings)


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


def test_a_codec_that_decord_does_not_know(tmp_path: Path) -> None:
    write_av1(tmp_path / 'new.mp4', num_frames=16)
    sample = dataset(tmp_path, 'new.mp4')[0]
    assert numbers(sample) == [*range(16)]
    assert sample['data_samples'].decoder == 'pyav'


def test_frames_that_had_to_be_counted(tmp_path: Path) -> None:
    make_video(Kind('mpeg4', '.avi', b_frames=2), tmp_path)
    sample = dataset(tmp_path, 'video.avi')[0]
    assert sample['data_samples'].decoder == 'pyav (counted)'


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


def test_only_the_named_decoders_are_tried(tmp_path: Path) -> None:
    write_av1(tmp_path / 'new.mp4', num_frames=16)
    found = dataset(tmp_path, 'new.mp4', decoders=['decord'])[0]
    assert found.reason.startswith('decord cannot decode it: ')


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
