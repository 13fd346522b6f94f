"""What is concluded from scores, from what a job left, and from the queue."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from sta.engine.loop import WHOLE
from sta.errors import ConfigError
from sta.evaluation import ScoreStore, StoredVideo
from sta.sweeps.job import STATUS, Status, count_stored, log_end, process_start
from sta.sweeps.plan import Element, Evaluation
from sta.sweeps.state import (
    ElementState,
    Manifest,
    Planned,
    Submitted,
    read_manifest,
    state_of,
)
from tests.evaluation.test_snapshots import SCORES, add, store_in

HERE = socket.gethostname()
JOB = Submitted('slurm', '7_0', 'login')


@pytest.fixture
def element(tmp_path: Path) -> Element:
    return Element(Evaluation('vit', 'a.py', 'a.pth'), WHOLE, tmp_path / 'vit', videos=4)


def store(element: Element, number: int) -> None:
    scores = ScoreStore(element.folder / 'scores', {}, num_variants=1)
    scores.add(0, {place: StoredVideo('', 0, None, reason='x') for place in range(number)})
    scores.close()


def leave(element: Element, event: str, **changed: object) -> None:
    values = dict(
        event=event,
        job='7_0',
        executor='slurm',
        host=HERE,
        pid=os.getpid(),
        attempt=1,
        started=time.time() - 10,
        stored_before=0,
        process_start=process_start(os.getpid()),
    )
    element.folder.mkdir(exist_ok=True)
    Status(**{**values, **changed}).write(element.folder)


def found(element: Element, queue: dict | None, submitted: Submitted | None = JOB) -> ElementState:
    return state_of(element, queue, submitted)


def seen(element: Element, queue: dict | None, submitted: Submitted | None = JOB) -> tuple:
    state = found(element, queue, submitted)
    return state.state, state.reason


def test_before_anything_ran(element: Element) -> None:
    assert seen(element, None, None) == ('pending', 'not submitted')
    assert seen(element, {'7_0': 'PENDING'}) == ('pending', 'queued')
    assert seen(element, {'7_0': 'RUNNING'}) == ('pending', 'starting')
    assert seen(element, None) == ('pending', 'submitted')  # no queue to ask here
    reason = 'gone before it started, see jobs/7_0_0_log.out'
    assert seen(element, {}) == ('failed', reason)


def test_scores_decide_what_is_done(element: Element) -> None:
    """Not how the job ended: it may have been killed while it drew its plots."""
    store(element, 4)
    leave(element, 'ended', exit_status=-9)
    assert seen(element, {}) == ('done', '')


def test_while_it_runs(element: Element) -> None:
    store(element, 3)
    leave(element, 'started', stored_before=1, ran_s=5.0)
    state = found(element, {'7_0': 'RUNNING'})
    assert (state.state, state.stored, state.videos) == ('running', 3, 4)
    assert state.seconds_left == pytest.approx(5, abs=1)  # two in ten seconds, one is left
    assert state.ran_s == pytest.approx(15, abs=1)


def test_after_it_ended(element: Element) -> None:
    leave(element, 'ended', exit_status=2)
    assert seen(element, {}) == ('failed', 'exit status 2')
    leave(element, 'ended', exit_status=-15)
    assert seen(element, {}) == ('failed', 'ended by signal 15')
    assert seen(element, {'7_0': 'COMPLETING'}) == ('running', 'stopping')
    assert seen(element, {'7_0': 'PENDING'}) == ('pending', 'queued')  # requeued by hand


def test_after_preemption(element: Element) -> None:
    leave(element, 'requeued')
    assert seen(element, {'7_0': 'COMPLETING'}) == ('pending', 'requeued')
    assert seen(element, {}) == ('failed', 'stopped, and not started again')


def test_jobs_that_say_nothing_any_more(element: Element) -> None:
    leave(element, 'started')
    assert seen(element, {}) == ('failed', 'cancelled or killed')
    local = Submitted('local', '7_0', HERE)
    assert seen(element, None, local)[0] == 'running'  # this very process
    leave(element, 'started', process_start='1')  # its number is another process's now
    assert seen(element, None, local) == ('failed', 'cancelled or killed')
    leave(element, 'started', host='elsewhere')
    assert seen(element, None, JOB)[0] == 'running'
    os.utime(element.folder / STATUS, (0, 0))
    assert seen(element, None, JOB) == ('failed', 'cancelled or killed')


def test_a_newer_job_counts(element: Element) -> None:
    leave(element, 'ended', exit_status=2)
    newer = Submitted('slurm', '8_0', 'login')
    assert seen(element, {'8_0': 'PENDING'}, newer) == ('pending', 'queued')


def test_a_status_that_is_half_written(element: Element) -> None:
    leave(element, 'started')
    (element.folder / STATUS).write_text('{"event": "sta')
    assert seen(element, {'7_0': 'RUNNING'}) == ('pending', 'starting')


def test_a_process_that_ended() -> None:
    done = subprocess.Popen(['true'])
    done.wait()
    assert process_start(done.pid) is None


def planned(*options: str, **changed: object) -> Manifest:
    values = dict(num_videos=7, annotations='a.txt', batch_size=2, config_digest='c')
    values = {**values, 'checkpoint_digest': 'k', **changed}
    return Manifest('s', (Planned(Evaluation('vit', 'a.py', 'a.pth', options), **values),), {})


def test_one_sweep_however_its_options_are_written(tmp_path: Path) -> None:
    planned('--budget', '.8', '1').write(tmp_path)
    planned('--budget', '0.80', '1.0').check_same(tmp_path)
    [element] = read_manifest(tmp_path).elements(tmp_path)
    assert element.typed().split()[4:7] == ['--budget', '.8', '1']
    assert (element.videos, element.folder) == (7, tmp_path / 'elements/vit/1of1')


@pytest.mark.parametrize(
    ('options', 'changed', 'said'),
    [
        (('--budget', '0.8'), {}, 'options of vit'),
        ((), {'num_videos': 8, 'batch_size': 1}, 'num videos of vit, batch size of vit'),
        ((), {'annotations': None}, 'annotations of vit'),
        ((), {'config_digest': 'd'}, r'config \(its content\) of vit'),
    ],
)
def test_another_sweep(tmp_path: Path, options: tuple, changed: dict, said: str) -> None:
    planned().write(tmp_path)
    with pytest.raises(ConfigError, match=f'holds another sweep, with other {said}: choose'):
        planned(*options, **changed).check_same(tmp_path)


def test_the_last_lines_of_the_last_attempt(element: Element) -> None:
    element.folder.mkdir()
    text = '--- one\n$ command\nold\n--- two\n$ command\nfirst\n\nlast \n'
    (element.folder / 'log.txt').write_text(text)
    assert log_end(element.folder) == ['first', 'last']


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Folder of an element with two stored videos."""
    store = store_in(tmp_path / 'scores')
    add(store, 0)
    add(store, 1)
    store.close()
    return tmp_path


def store_of(stored: Path) -> Path:
    [path] = (stored / 'scores').glob('*.sqlite')
    return path


def begin_batch(path: Path) -> sqlite3.Connection:
    """Write half of a batch, so that a journal lies beside the file."""
    writer = sqlite3.connect(path)
    writer.execute('PRAGMA cache_size = 1')
    writer.execute('BEGIN EXCLUSIVE')
    for place in range(2, 40):
        row = (place, 'x' * 900, 1, SCORES.tobytes() * 40, '', '', None)
        writer.execute('INSERT INTO videos VALUES (?,?,?,?,?,?,?)', row)
    assert path.with_name(f'{path.name}-journal').exists()
    return writer


def test_nothing_is_there(tmp_path: Path) -> None:
    assert count_stored(tmp_path) == 0


def test_finished_batches(stored: Path) -> None:
    assert count_stored(stored) == 2


def test_in_the_middle_of_a_batch(stored: Path) -> None:
    writer = begin_batch(store_of(stored))
    assert count_stored(stored) == 2
    writer.commit()
    assert count_stored(stored) == 40


def test_a_job_that_was_killed_in_the_middle_of_a_batch(stored: Path, tmp_path: Path) -> None:
    """What it left is not touched."""
    path, left = store_of(stored), tmp_path / 'killed'
    (left / 'scores').mkdir(parents=True)
    writer = begin_batch(path)
    files = (path, path.with_name(f'{path.name}-journal'))
    for file in files:
        shutil.copyfile(file, left / 'scores' / file.name)
    writer.rollback()
    before = {file.name: (left / 'scores' / file.name).read_bytes() for file in files}
    assert count_stored(left) == 2
    assert {file.name: file.read_bytes() for file in (left / 'scores').iterdir()} == before


def test_what_is_no_store_counts_nothing(stored: Path) -> None:
    (stored / 'scores/other.sqlite').write_bytes(b'no database' * 100)
    assert count_stored(stored) == 2
