"""The shipped sweeps are the paper's tables: the same configs, weights and schedules."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.paper import build_tables
from sta.paper.inputs import accepted
from sta.sweeps.reading import read_sweep

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('name', ['table2', 'table3'])
def test_a_sweep_holds_every_accuracy_of_its_table(name: str) -> None:
    sweep = read_sweep(ROOT / f'sweeps/paper_{name}.yaml', {})
    found = {}
    for one in sweep.evaluations:
        words = one.options[one.options.index('--schedules') + 1 : one.options.index('--pruners')]
        assert one.options[one.options.index('--pruners') + 1] == 'sta'
        found[one.config, Path(one.checkpoint).stem] = {int(word) for word in words}
    wanted: dict[tuple[str, str], set[int]] = {}
    [table] = build_tables([name])
    for experiment in table.experiments('top1'):
        setting = experiment.setting
        key = (f'configs/{setting.config}.py', accepted(setting.checkpoint)[0])
        wanted.setdefault(key, set()).add(experiment.schedule)
    assert found == wanted
