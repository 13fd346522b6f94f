"""Writing a split: the same files whatever the workers, kept when there, never half a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import decord
import numpy as np
import pytest

from sta.datasets.motions.clips import CLASS_NAMES, ClipSource, SplitReport, write_split
from sta.errors import MotionsError

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
