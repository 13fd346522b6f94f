"""A run that is killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from sta.engine.scoring import Scorer
from sta.report import Scores, read_scores

from .test_processes import free_port
from .tiny import NUM_VIDEOS, Tiny, run_tool

VARIANTS = ('--schedules', '0', '3', '--pruners', 'sta', 'random')
ONE_BY_ONE = ('--cfg-options', 'test_dataloader.batch_size=1')


def evaluate(tiny: Tiny, *arguments: object) -> int:
    return run_tool('test', tiny.six_views, tiny.checkpoint, *VARIANTS, *arguments)


def num_stored(folder: Path) -> int:
    """Videos that are on the disk, seen from outside while others write."""
    total = 0
    for path in folder.glob('scores/*.sqlite'):
        try:
            with sqlite3.connect(f'file:{path}?mode=ro&nolock=1', uri=True) as connection:
                total += connection.execute('SELECT COUNT(*) FROM videos').fetchone()[0]
        except sqlite3.Error:  # in the middle of a transaction
            pass
    return total


def killed(folder: Path, after: int, *processes: Callable[[], int]) -> None:
    """Start processes, kill them the hard way when so many videos are stored."""
    context = multiprocessing.get_context('fork')
    started = [context.Process(target=_slowly, args=(process,)) for process in processes]
    for one in started:
        one.start()
    deadline = time.monotonic() + 60
    while num_stored(folder) < after and time.monotonic() < deadline:
        time.sleep(0.01)
    for one in started:
        os.kill(one.pid, signal.SIGKILL)
        one.join()
        assert one.exitcode == -signal.SIGKILL


def _slowly(process: Callable[[], int]) -> None:
    score = Scorer.score

    def slow(*arguments):
        time.sleep(0.2)
        return score(*arguments)

    Scorer.score = slow
    os._exit(process())


def same(one: Path, other: Path) -> None:
    """Scores to the last bit, and every column of the table but the measured speed."""
    found, wanted = read_scores(one / 'scores.npz'), read_scores(other / 'scores.npz')
    for field in Scores._fields:
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
    assert table(one) == table(other)


def table(folder: Path) -> list[Mapping[str, str]]:
    with (folder / 'results.csv').open() as file:
        return [
            {k: v for k, v in row.items() if k != 'clips_per_s'} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope='module')
def undisturbed(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('resume') / 'undisturbed'
    assert evaluate(tiny, *ONE_BY_ONE, '--work-dir', folder) == 0
    return folder


def test_a_run_that_is_killed_three_times(
    tiny: Tiny, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / 'run'
    for after in (1, 3, 6):
        killed(folder, after, lambda: evaluate(tiny, *ONE_BY_ONE, '--work-dir', folder))
        assert num_stored(folder) >= after
        assert not (folder / 'results.json').exists()
    stored = num_stored(folder)
    assert evaluate(tiny, *ONE_BY_ONE, '--work-dir', folder, '--resume') == 0
    same(folder, undisturbed)
    said = capsys.readouterr().out
    assert f'going on with the run in {folder}, which was cut off' in said
    made = json.loads((folder / 'results.json').read_text())['environment']
    assert made['resumed'] == stored
    assert num_stored(folder) == NUM_VIDEOS  # none was evaluated twice


def test_the_same_command_finds_its_folder(tiny: Tiny, undisturbed: Path, tmp_path: Path) -> None:
    runs = tmp_path / 'work_dirs/six_views'
    context = multiprocessing.get_context('fork')
    process = context.Process(target=_slowly, args=(lambda: evaluate(tiny, *ONE_BY_ONE),))
    process.start()
    deadline = time.monotonic() + 60
    while not (folders := list(runs.glob('*'))) or num_stored(folders[0]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    assert evaluate(tiny, *ONE_BY_ONE) == 0
    assert [*runs.iterdir()] == folders
    same(folders[0], undisturbed)
    assert evaluate(tiny, *ONE_BY_ONE) == 0  # finished: a new one
    assert len(list(runs.iterdir())) == 2


def test_half_a_batch_is_scored_with_its_old_neighbours(tiny: Tiny, tmp_path: Path) -> None:
    """Sizes of batches may change; what the new ones cover in part is scored again."""
    two, three = (('--cfg-options', f'test_dataloader.batch_size={n}') for n in (2, 3))
    folder = tmp_path / 'run'
    killed(folder, 2, lambda: evaluate(tiny, *two, '--work-dir', folder))
    stored = num_stored(folder)
    assert evaluate(tiny, *three, '--work-dir', folder) == 0
    made = json.loads((folder / 'results.json').read_text())['environment']
    assert made['resumed'] == (stored if stored == NUM_VIDEOS else stored // 3 * 3)
    assert evaluate(tiny, *three, '--work-dir', tmp_path / 'whole') == 0
    same(folder, tmp_path / 'whole')


def test_two_processes_are_killed_and_one_goes_on(
    tiny: Tiny, undisturbed: Path, tmp_path: Path
) -> None:
    folder, port = tmp_path / 'run', str(free_port())
    given = (*ONE_BY_ONE, '--work-dir', folder)

    def process(rank: int) -> int:
        os.environ.update(MASTER_ADDR='localhost', MASTER_PORT=port, WORLD_SIZE='2')
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        return evaluate(tiny, *given, '--launcher', 'pytorch')

    killed(folder, 3, lambda: process(0), lambda: process(1))
    assert len(list(folder.glob('scores/*.sqlite'))) == 2
    assert evaluate(tiny, *given) == 0
    same(folder, undisturbed)


def test_a_finished_run_is_shown_again_and_left_alone(
    tiny: Tiny, undisturbed: Path, capsys: pytest.CaptureFixture
) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.glob('*.*')}
    assert evaluate(tiny, *ONE_BY_ONE, '--work-dir', undisturbed) == 0
    said = capsys.readouterr().out
    assert (
        'unpruned' in said and f'nothing was left to do; the results are in {undisturbed}' in said
    )
    assert 'scores of an earlier session' in ' '.join(said.split())
    for path, time_ns in before.items():
        if path.suffix != '.py':  # the dumped config
            assert path.stat().st_mtime_ns == time_ns, path


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (('--schedules', '0', '2'), 'schedules or pruners'),
        (('--pruners', 'sta:score=temporal', 'random'), 'schedules or pruners'),
        (('--max-videos', '3'), 'videos'),
        (('--amp', 'bf16'), 'precision'),
        (('--cfg-options', 'model.backbone.norm_cfg.eps=1e-5'), 'model settings'),
        (('--cfg-options', 'test_dataloader.dataset.pipeline.1.num_clips=1'), 'test pipeline'),
    ],
)
def test_scores_of_another_run_are_not_mixed_in(
    refused: Callable[..., str], tiny: Tiny, undisturbed: Path, arguments: tuple, part: str
) -> None:
    given = (tiny.six_views, tiny.checkpoint, *VARIANTS, '--work-dir', undisturbed, *arguments)
    refused('test', *given, said=(f'scores of a run with other {part}: ', 'another --work-dir'))


def test_scores_of_other_weights_are_not_mixed_in(
    refused: Callable[..., str], tiny: Tiny, undisturbed: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny.checkpoint)
    weights['cls_head.fc_cls.bias'][0] += 1e-6
    save_file(weights, tmp_path / 'other.safetensors')
    given = (tiny.six_views, tmp_path / 'other.safetensors', *VARIANTS, '--work-dir', undisturbed)
    refused('test', *given, said=('scores of a run with other weights: ',))


def test_what_may_change_between_sessions(tiny: Tiny, undisturbed: Path) -> None:
    """Workers, chunks of views, policies: they change no score."""
    options = ('test_dataloader.num_workers=1', 'test_cfg.max_views_per_forward=3')
    data = ('on_broken="error"', 'time_limit_s=9', 'decoders=["pyav"]')
    options += tuple(f'test_dataloader.dataset.{setting}' for setting in data)
    assert evaluate(tiny, '--work-dir', undisturbed, '--cfg-options', *options) == 0


@pytest.fixture
def listed(tiny: Tiny, tmp_path: Path, child: Callable[..., Path]) -> Path:
    """A config of four videos, the second and third of which are broken."""
    names = [tiny.folder / 'videos' / name for name in tiny.names[:2]]
    (tmp_path / 'empty.mp4').touch()
    lines = [f'{names[0]} 1', f'{tmp_path}/empty.mp4 2', f'{tmp_path}/gone.mp4 3', f'{names[1]} 4']
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    return child(f'test_dataloader = dict(dataset=dict(ann_file={str(tmp_path / "list.txt")!r}))')


def test_broken_videos_are_left_out_and_listed(
    listed: Path, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / 'run'
    assert run_tool('test', listed, tiny.checkpoint, '--work-dir', folder) == 0
    said = capsys.readouterr().out
    assert '2 of 4 videos x 1 view.' in ' '.join(said.split())
    reasons = {'empty.mp4': 'it is empty (0 bytes)', 'gone.mp4': 'there is no such file'}
    for name, reason in reasons.items():
        assert f'  {tmp_path}/{name}: {reason}\n' in said
    with (folder / 'left_out.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['name'], row['label'], row['reason']) for row in rows] == [
        (f'{tmp_path}/{name}', str(label), reason)
        for label, (name, reason) in enumerate(reasons.items(), 2)
    ]
    found = json.loads((folder / 'results.json').read_text())
    assert (found['environment']['num_videos'], found['environment']['num_listed']) == (2, 4)
    assert [video['reason'] for video in found['left_out']] == list(reasons.values())
    assert '2 of 4 videos' in (folder / 'results.md').read_text()
    scores = read_scores(folder / 'scores.npz')
    assert scores.labels.tolist() == [1, 4]


def test_broken_videos_are_not_tried_again_unless_asked(
    listed: Path, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / 'run'
    given = (listed, tiny.checkpoint, '--work-dir', folder)
    assert run_tool('test', *given) == 0
    mended = (tiny.folder / 'videos' / tiny.names[2]).read_bytes()
    (tmp_path / 'empty.mp4').write_bytes(mended)
    assert run_tool('test', *given) == 0
    assert read_scores(folder / 'scores.npz').labels.tolist() == [1, 4]
    assert run_tool('test', *given, '--retry-broken') == 0
    assert read_scores(folder / 'scores.npz').labels.tolist() == [1, 2, 4]
    assert '3 of 4 videos' in ' '.join(capsys.readouterr().out.split())


def test_resume_where_there_is_nothing(refused: Callable[..., str], tiny: Tiny) -> None:
    given = (tiny.six_views, tiny.checkpoint, '--resume')
    refused('test', *given, said=('--resume: work_dirs/six_views holds no run of this config',))
