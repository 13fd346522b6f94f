"""A whole search from the command line: the config it leaves runs and says the same."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from sta.engine.config import load_config

from .tiny import NUM_VIDEOS, Tiny, run_tool

SEARCH = ('--budget', '0.8', '--trials', 4, '--search-videos', 3)


def searched(tiny: Tiny, out: Path, *arguments: object) -> int:
    command = ('search_schedule', tiny.one_view, tiny.checkpoint, *SEARCH, '--out', out)
    return run_tool(*command, *arguments)


def test_the_config_that_was_found_runs_and_says_the_same(
    tiny: Tiny, tmp_path: Path, capsys
) -> None:
    out = tmp_path / 'search'
    assert searched(tiny, out) == 0
    said = capsys.readouterr().out
    assert f'searching on 3 videos, comparing on {NUM_VIDEOS - 3}' in said
    found = json.loads((out / 'search.json').read_text())
    assert found['num_trials'] == 4
    assert found['searched']['divergence_nats'] <= found['paper']['divergence_nats']
    names = [(out / name).read_text().splitlines() for name in ('search.txt', 'heldout.txt')]
    assert len(names[0]) == 3 and len(set(names[0]) | set(names[1])) == NUM_VIDEOS
    config = out / 'one_view_0.8.py'
    assert load_config(str(config)).test_cfg.schedules[2]['schedule'] == found['stages']
    work = tmp_path / 'run'
    capsys.readouterr()
    list_option = f'test_dataloader.dataset.ann_file={out / "heldout.txt"}'
    command = ('test', config, tiny.checkpoint, '--work-dir', work, '--cfg-options', list_option)
    assert run_tool(*command) == 0

    def rows(path: Path) -> list[list[str]]:
        with path.open() as file:
            return [
                [r['name'], r['gflops_per_view'], r['top1_percent']] for r in csv.DictReader(file)
            ]

    (heldout,) = out.glob('heldout_*/results.csv')
    assert rows(work / 'results.csv') == rows(heldout)
    points = re.search(r'same cost, 4 held-out videos: (\S+) points', said)[1]
    paper, best = (float(row[2]) for row in rows(heldout)[1:])
    assert float(points) == pytest.approx(best - paper, abs=0.01)
    whole, cost = float(rows(heldout)[0][1]), float(rows(heldout)[2][1])
    assert cost <= 0.8 * whole and cost == pytest.approx(found['gflops_per_view'])


def test_videos_of_ones_own_and_a_search_gone_on_with(tiny: Tiny, tmp_path: Path, capsys) -> None:
    folder = Path(load_config(str(tiny.one_view)).test_dataloader.dataset.data_prefix.video)
    out = tmp_path / 'search'
    assert searched(tiny, out, '--clips', folder) == 0
    assert f'comparing on {NUM_VIDEOS}' in capsys.readouterr().out
    assert searched(tiny, out, '--clips', folder, '--trials', 6) == 0
    assert json.loads((out / 'search.json').read_text())['num_trials'] == 6
    assert searched(tiny, out) == 2
    assert 'search with other videos' in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments, words',
    [
        (('--budget', '1.2'), ('between 0 and 1', '1.2')),
        (('--budget', '0.01'), ('budget 0.01', 'at least')),
        (('--trials', '0'), ('--trials must be at least 1',)),
        (('--num-stages', '9'), ('9 stages do not fit',)),
        (('--search-videos', '7'), ('leaves none of the 7 videos',)),
        (('--clips', 'nowhere'), ('nowhere does not exist',)),
        (('--pruner', 'stta'), ("unknown pruner 'stta'",)),
        (('--pruner', 'rlt'), ('run-length tokenization', 'takes no schedule')),
    ],
)
def test_what_can_go_wrong(tiny: Tiny, tmp_path: Path, capsys, arguments, words) -> None:
    assert searched(tiny, tmp_path / 'search', *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(word in line for word in words), line
