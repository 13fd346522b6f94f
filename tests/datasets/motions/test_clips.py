"""A clip depends on seed, split and index alone; a split is written whole or goes on."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from pathlib import Path

import av
import decord
import numpy as np
import pytest

from sta.datasets.motions.clips import CLASS_NAMES, ClipSource, SplitReport, write_split
from sta.errors import MotionsError

SIZE = 64


def key_frames(video: bytes) -> tuple[list[int], str, str]:
    """Places of the key frames, the codec's name and the pixel format."""
    with av.open(io.BytesIO(video)) as container:
        frames = list(container.decode(video=0))
        context = container.streams.video[0].codec_context
        places = [i for i, frame in enumerate(frames) if frame.key_frame]
        return places, context.name, frames[0].format.name


@pytest.mark.parametrize('index', [0, 5, 8, 123456])
def test_a_clip_is_the_same_in_every_call(index: int) -> None:
    first, second = ClipSource('val', seed=7, size=SIZE), ClipSource('val', seed=7, size=SIZE)
    second.frames(index + 1)  # what was drawn before must not matter
    np.testing.assert_array_equal(first.frames(index), second.frames(index))
    assert len({first.mp4(index) for _ in range(4)} | {second.mp4(index)}) == 1


def test_every_part_of_the_name_changes_the_clip() -> None:
    base = dict(split='val', seed=0, size=SIZE)
    clips = [
        ClipSource(**base).mp4(0),
        ClipSource(**base).mp4(10),
        ClipSource(**{**base, 'seed': 1}).mp4(0),
        ClipSource(**{**base, 'split': 'train'}).mp4(0),
    ]
    assert len(set(clips)) == len(clips)


def test_splits_share_no_random_stream() -> None:
    """Over seeds and indices no first draw of train is one of val."""
    draws = {
        split: {
            generator.integers(2**63)
            for seed, index in itertools.product(range(5), range(40))
            for generator in ClipSource(split, seed=seed).generators(index)
        }
        for split in ('train', 'val')
    }
    assert len(draws['train']) == len(draws['val']) == 5 * 40 * 2
    assert not draws['train'] & draws['val']


@pytest.mark.parametrize('size', [64, 112])
def test_decord_and_pyav_read_every_frame(size: int) -> None:
    source = ClipSource('train', size=size)
    for index in range(3):
        frames, video = source.frames(index), source.mp4(index)
        assert frames.shape[1:] == (size, size, 3)
        assert 28 <= len(frames) <= 40
        reader = decord.VideoReader(io.BytesIO(video))
        assert len(reader) == len(frames)
        assert reader.get_avg_fps() == 16
        decoded = reader.get_batch(range(len(reader))).asnumpy()
        # Each frame is in its place; noise, coding and 4:2:0 colour cost some grey levels.
        assert np.abs(decoded.astype(int) - frames).mean(axis=(1, 2, 3)).max() < 8
        places, codec, pixels = key_frames(video)
        assert (codec, pixels) == ('h264', 'yuv420p')
        assert places == list(range(0, len(frames), 16))


def test_lengths_vary() -> None:
    source = ClipSource('train', size=SIZE)
    lengths = {source.scene(index).num_frames for index in range(60)}
    assert min(lengths) >= 28 and max(lengths) <= 40 and len(lengths) > 6


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(split='test'), "unknown split 'test': choose one of train, val"),
        (dict(split='val', seed=-1), 'the seed must not be negative, got -1'),
        (dict(split='val', size=72), 'multiple of 16 and at least 64, got 72'),
        (dict(split='val', size=48), 'multiple of 16 and at least 64, got 48'),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipSource(**settings)


ROOT = Path(__file__).parents[3]
SOURCE = ClipSource('val', size=64)


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('motions')
    write_split(SOURCE, out, num_clips=20)
    return out


def test_lists_name_every_clip_with_its_label(written: Path) -> None:
    lines = [line.split() for line in (written / 'val.txt').read_text().splitlines()]
    assert (written / 'classes.txt').read_text().split() == list(CLASS_NAMES)
    assert [int(label) for _, label in lines] == list(range(10)) * 2
    assert lines[13] == ['val/moving_down_000013.mp4', '3']
    for path, label in lines:
        assert Path(path).name.startswith(CLASS_NAMES[int(label)])
    assert {path for path, _ in lines} | {'val.txt', 'val.json', 'classes.txt'} == set(
        files_of(written)
    )
    assert (written / lines[7][0]).read_bytes() == SOURCE.mp4(7)


def test_workers_and_their_order_do_not_matter(written: Path, tmp_path: Path) -> None:
    counts: list[int] = []
    report = write_split(SOURCE, tmp_path, num_clips=20, num_workers=2, on_progress=counts.append)
    assert files_of(tmp_path) == files_of(written)
    assert sum(counts) == 20
    assert report == SplitReport(20, 0, sum(p.stat().st_size for p in tmp_path.rglob('*.mp4')))


def test_a_killed_run_goes_on(written: Path, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(count: int) -> None:
        if count:
            raise KilledError

    with pytest.raises(KilledError):
        write_split(SOURCE, tmp_path, num_clips=20, on_progress=kill)
    done = list(tmp_path.rglob('*.mp4'))
    times = {path: path.stat().st_mtime_ns for path in done}
    assert 0 < len(done) < 20
    assert not (tmp_path / 'val.txt').exists()  # a list is there only when all its clips are
    report = write_split(SOURCE, tmp_path, num_clips=20)
    assert (report.num_written, report.num_skipped) == (20 - len(done), len(done))
    assert {path: path.stat().st_mtime_ns for path in done} == times
    assert files_of(tmp_path) == files_of(written)


def test_a_longer_split_begins_with_the_shorter_one(tmp_path: Path) -> None:
    short = ClipSource('train', size=64)
    assert write_split(short, tmp_path, num_clips=3).num_written == 3
    first = files_of(tmp_path)
    assert write_split(short, tmp_path, num_clips=5).num_skipped == 3
    assert first.items() - files_of(tmp_path).items() == {('train.txt', first['train.txt'])}


@pytest.mark.parametrize(
    ('num_clips', 'num_workers', 'message'),
    [
        (0, 1, 'number of clips must be at least 1, got 0'),
        (-10, 1, 'number of clips must be at least 1, got -10'),
        (15, 1, 'must be a multiple of 10, got 15'),
        (10, 0, 'number of workers must be at least 1, got 0'),
    ],
)
def test_wrong_numbers_are_named(
    tmp_path: Path, num_clips: int, num_workers: int, message: str
) -> None:
    with pytest.raises(MotionsError, match=message):
        write_split(SOURCE, tmp_path / 'out', num_clips=num_clips, num_workers=num_workers)
    assert not (tmp_path / 'out').exists()


def test_clips_of_two_kinds_never_mix(tmp_path: Path) -> None:
    (tmp_path / 'val').mkdir()
    (tmp_path / 'val' / 'old.mp4').touch()
    with pytest.raises(MotionsError, match='another seed, size, difficulty or version'):
        write_split(SOURCE, tmp_path, num_clips=10)
    (tmp_path / 'val' / 'old.mp4').unlink()
    write_split(SOURCE, tmp_path, num_clips=10)
    with pytest.raises(MotionsError, match='delete it or choose another --out'):
        write_split(ClipSource('val', seed=1, size=64), tmp_path, num_clips=10)


def test_the_validation_clips_of_the_project_are_what_the_generator_makes() -> None:
    """At least 300 balanced clips of at most 8 MB; the pixels are the generator's of today."""
    folder = ROOT / 'data' / 'motions'
    lines = [line.split() for line in (folder / 'val.txt').read_text().splitlines()]
    assert len(lines) >= 300
    assert set(Counter(label for _, label in lines).values()) == {len(lines) // 10}
    assert sum((folder / path).stat().st_size for path, _ in lines) <= 8e6
    for index in range(0, len(lines), 67):
        reader = decord.VideoReader(str(folder / lines[index][0]))
        decoded = reader.get_batch(range(len(reader))).asnumpy()
        frames = ClipSource('val').frames(index)
        assert decoded.shape == frames.shape
        assert np.abs(decoded.astype(int) - frames).mean() < 8
