"""What the documentation's site makes at build time; that it builds, `make check` shows itself."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import sta

ROOT = Path(__file__).parents[1]
TOOLS = sorted((ROOT / 'tools').glob('*.py'))


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip('sphinx')
    monkeypatch.syspath_prepend(str(ROOT / 'docs'))
    return importlib.import_module('site_pages')


@pytest.mark.parametrize('tool', TOOLS, ids=lambda tool: tool.stem)
def test_every_option_of_a_tool_is_there_with_its_help(pages: ModuleType, tool: Path) -> None:
    parser = pages.parser_of(tool)
    text = pages.tool_text(tool)
    assert text.startswith(f'## {tool.name}\n')
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        for word in action.option_strings or [action.metavar or action.dest]:
            assert word in text, word
        assert not action.help or action.help.split()[0].strip('`%()') in text.replace('\\', '')


def test_a_file_that_reads_no_command_line_is_named(pages: ModuleType, tmp_path: Path) -> None:
    (tmp_path / 'nothing.py').write_text('print()')
    with pytest.raises(Exception, match=r'nothing\.py reads no command line'):
        pages.parser_of(tmp_path / 'nothing.py')


def test_every_config_is_listed_with_its_command(pages: ModuleType) -> None:
    text = pages.configs_text()
    for path in (ROOT / 'configs').glob('*.py'):
        section = text.partition(f'## {path.name}\n')[2].partition('\n## ')[0]
        assert f'configs/{path.name}' in section and 'backbone' in section


def test_every_public_name_is_described_once(pages: ModuleType) -> None:
    rooms = dict(pages.rooms())
    assert rooms['sta'] == sta.__all__ and 'sta.hosts' not in rooms
    assert {'sta.pruning', 'sta.models', 'sta.checkpoints', 'sta.evaluation'} <= set(rooms)
    assert 'Pruner' in rooms['sta.pruning']
    homes = [
        pages.home_of(importlib.import_module(room), name)
        for room, names in rooms.items()
        for name in names
    ]
    assert len(homes) == len(set(homes))


def test_types_of_configs_are_found_in_the_registries(pages: ModuleType) -> None:
    found = {name.rpartition('.')[2] for _, names in pages.registered() for name in names}
    texts = [path.read_text('utf-8') for path in (ROOT / 'configs').rglob('*.py')]
    used = set(re.findall(r"type='(STA\w+|VideoList\w+|\w+Clips?|LinearHead)'", '\n'.join(texts)))
    assert used - {'STAPruner'} and used - {'STAPruner'} <= found


def test_a_link_that_shows_a_file_shows_its_page(pages: ModuleType) -> None:
    titles = pages.titles()
    assert titles['docs/costs.md'] == 'Costs and speed' and 'README.md' in titles
    assert len(set(titles.values())) == len(titles)


def test_the_workflow_calls_the_targets_of_the_makefile() -> None:
    workflow = yaml.safe_load((ROOT / '.github/workflows/check.yml').read_text('utf-8'))
    steps = [step for job in workflow['jobs'].values() for step in job['steps']]
    called = {step['run'].split()[1] for step in steps if 'run' in step}
    assert {'lint', 'pytest', 'docs', 'demo'} <= called
    tests = workflow['jobs']['tests']['strategy']['matrix']['python']
    assert tests == ['3.10', '3.11', '3.12']
    assert all(step['run'].startswith('make ') for step in steps if 'run' in step)


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text('utf-8'))
    assert citation['version'] == sta.__version__
    assert citation['preferred-citation']['authors'][0]['family-names'] == 'Ding'
