"""The recipe of CONTRIBUTING.md for a pruner works, from an empty file to the tables."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sta.pruning import PRUNERS, Pruner, PruningStage, StageContext, short_names
from sta.start import pruner_names
from tests.fake_packages import run_python
from tests.tools.tiny import child_config, make_tiny, run_tool

ROOT = Path(__file__).parents[1]


def recipe(kind: str) -> str:
    """The block of the recipe's section that starts so."""
    text = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    return re.search(rf'```python\n({kind}.*?)```', text, re.DOTALL).group(1)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """even.py in a folder that Python looks into; forgotten afterwards."""
    (tmp_path / 'even.py').write_text(recipe('import torch\n'))
    monkeypatch.syspath_prepend(tmp_path)
    yield 'even'
    sys.modules.pop('even', None)
    PRUNERS.pop('EvenPruner', None)


@pytest.fixture
def example(module: str) -> Pruner:
    __import__(module)
    return PRUNERS['EvenPruner']()


def test_the_example_pruner_keeps_every_second_token_of_each_chunk(example: Pruner) -> None:
    tokens = torch.arange(2 * 8.0).reshape(2, 8, 1)
    ids = torch.zeros(2, dtype=torch.int64)
    context = StageContext(0, torch.arange(8).repeat(2, 1), (2, 2), ids)
    stage = PruningStage(after_block=1, num_chunks=2, num_drop=2)
    pruned = example(tokens, None, stage, context)
    assert pruned.kept.tolist() == [[0, 2, 4, 6]] * 2
    assert pruned.tokens[..., 0].tolist() == [[0, 2, 4, 6], [8, 10, 12, 14]]


def test_from_an_empty_file_to_the_tables(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = make_tiny(tmp_path)
    config = child_config(tmp_path / 'mine.py', tiny.one_view, recipe('custom_imports'))
    given = (config, tiny.checkpoint, '--schedules', 0, 4)
    assert run_tool('test', *given, '--work-dir', 'run') == 0
    with Path('run/results.csv').open() as file:
        rows = {row['name']: row for row in csv.DictReader(file)}
    assert list(rows) == ['unpruned', 'sta-4', 'even-4']
    assert rows['even-4']['tokens_after_stages'] == rows['sta-4']['tokens_after_stages']
    assert float(rows['even-4']['gflops_per_view']) < float(rows['sta-4']['gflops_per_view'])
    for name in ('results.md', 'report.html', 'accuracy_vs_gflops.svg'):
        assert 'even' in Path('run', name).read_text(), name
    capsys.readouterr()
    assert run_tool('count_flops', config, '--pruners', 'even', '--budget', 0.8) == 0
    said = capsys.readouterr().out
    assert re.search(r'even drops \d+, ', said) and 'even-' in said


def test_a_taken_name_is_refused(module: str) -> None:
    from sta.errors import PrunerError

    with pytest.raises(PrunerError, match="called 'sta' already: sta.pruning.sta.STAPruner"):

        class Mine(Pruner, name='sta'):
            pass

    assert 'Mine' not in PRUNERS


def test_a_file_in_the_folder_of_pruners_is_enough(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'sta', tmp_path / 'sta', ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'sta' / 'pruning' / 'even.py').write_text(recipe('import torch\n'))
    script = tmp_path / 'ask.py'  # whose folder Python looks into first
    script.write_text(
        'from sta.start import pruner_names\n'
        'from sta.pruning import parse_pruner_text, short_names\n'
        'print(pruner_names())\n'
        'print(", ".join(short_names()), parse_pruner_text("even"))\n'
    )
    run = run_python(str(script))
    names = ', '.join(sorted([*pruner_names().split(', '), 'even']))
    assert run.stdout.splitlines() == [names, f"{names} {{'type': 'EvenPruner'}}"], run.stderr


def test_the_list_of_the_documentation_holds_every_pruner() -> None:
    text = (ROOT / 'docs' / 'variants.md').read_text(encoding='utf-8')
    table = text.partition('## Pruners')[2].partition('Settings on the command line')[0]
    assert [name for name in pruner_names().split(', ') if table.count(f'`{name}`') < 2] == []


def test_help_texts_name_every_pruner_that_comes_with_sta() -> None:
    own = {n for n, v in short_names().items() if PRUNERS[v['type']].__module__.startswith('sta.')}
    assert pruner_names() == ', '.join(sorted(own))
