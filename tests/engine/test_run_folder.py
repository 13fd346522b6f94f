"""Which folder a run writes to: a new one, or that of the same run where it was cut off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sta.engine.run_folder import choose_folder
from sta.errors import ConfigError, StoreError
from sta.evaluation import ScoreStore, StoredVideo

RUN = {'weights': 'a', 'videos': 'b'}
OTHER = {'weights': 'c', 'videos': 'b'}


def cut_off(folder: Path, run: dict[str, str] = RUN) -> Path:
    store = ScoreStore(folder / 'scores', run, num_variants=1)
    store.add(0, {0: StoredVideo('a.mp4', 0, np.zeros((1, 2), np.float32))})
    store.close()
    return folder


def finished(folder: Path, run: dict[str, str] = RUN) -> Path:
    cut_off(folder, run)
    (folder / 'results.json').write_text('{}')
    return folder


def choose(parent: Path, work_dir: Path | None = None, resume: bool | None = None):
    return choose_folder(parent, RUN, work_dir=work_dir, resume=resume)


def test_a_first_run_gets_a_folder_of_its_second(tmp_path: Path) -> None:
    folders = [choose(tmp_path / 'runs') for _ in range(3)]
    paths = [folder.path for folder in folders]
    assert len(set(paths)) == 3 and all(path.is_dir() for path in paths)
    assert all(folder.state == 'new' for folder in folders)
    assert paths[0].parent == tmp_path / 'runs'


def test_the_same_run_goes_on_in_its_folder(tmp_path: Path) -> None:
    cut_off(tmp_path / '20260101_000000')
    latest = cut_off(tmp_path / '20260102_000000')
    cut_off(tmp_path / '20260103_000000', OTHER)
    finished(tmp_path / '20260104_000000')
    (tmp_path / '20260105_000000/scores').mkdir(parents=True)
    found = choose(tmp_path)
    assert (found.path, found.state) == (latest, 'cut off')


def test_a_finished_or_another_run_is_left_alone(tmp_path: Path) -> None:
    finished(tmp_path / '20260101_000000')
    cut_off(tmp_path / '20260102_000000', OTHER)
    found = choose(tmp_path)
    assert found.state == 'new' and len(list(tmp_path.iterdir())) == 3


def test_no_resume_starts_anew(tmp_path: Path) -> None:
    old = cut_off(tmp_path / '20260101_000000')
    found = choose(tmp_path, resume=False)
    assert found.state == 'new' and found.path != old


def test_resume_without_anything_to_go_on_with(tmp_path: Path) -> None:
    cut_off(tmp_path / 'runs/20260101_000000', OTHER)
    with pytest.raises(ConfigError, match='--resume: .*runs holds no run of this config'):
        choose(tmp_path / 'runs', resume=True)
    with pytest.raises(ConfigError, match='--resume: .*chosen holds no scores to go on with'):
        choose(tmp_path, tmp_path / 'chosen', resume=True)


@pytest.mark.parametrize('resume', [None, True])
def test_a_chosen_folder(tmp_path: Path, resume: bool | None) -> None:
    assert choose(tmp_path, cut_off(tmp_path / 'a'), resume).state == 'cut off'
    assert choose(tmp_path, finished(tmp_path / 'b'), resume).state == 'finished'
    with pytest.raises(StoreError, match='scores of a run with other weights'):
        choose(tmp_path, cut_off(tmp_path / 'c', OTHER), resume)


def test_a_chosen_folder_that_is_new(tmp_path: Path) -> None:
    found = choose(tmp_path, tmp_path / 'deep/in')
    assert (found.path, found.state) == (tmp_path / 'deep/in', 'new')


def test_a_chosen_folder_with_results_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / 'results.json').write_text('{}')
    with pytest.raises(ConfigError, match='already holds results.json: choose another folder'):
        choose(tmp_path, tmp_path)


def test_a_chosen_folder_with_scores_and_no_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='--no-resume: .*already holds scores'):
        choose(tmp_path, cut_off(tmp_path / 'a'), resume=False)


def test_a_folder_in_use_by_another_process(tmp_path: Path) -> None:
    """Named when it was chosen, passed by when it was found."""
    used = cut_off(tmp_path / '20260101_000000')
    script = (
        'import sys, time\n'
        'from pathlib import Path\n'
        'from tests.engine.test_run_folder import choose\n'
        'folder = choose(None, Path(sys.argv[1]))\n'
        'print("ready", flush=True)\n'
        'time.sleep(60)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, '-c', script, used], stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        assert other.stdout.readline() == 'ready\n'
        with pytest.raises(ConfigError, match=f'being written by another process .*{other.pid} on'):
            choose(tmp_path, used)
        assert choose(tmp_path).state == 'new'
        other.kill()
    assert choose(tmp_path, used).state == 'cut off'  # the dead keep no lock
