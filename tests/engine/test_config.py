"""Configs as they are loaded, with options of the command line; what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sta.engine.config import KNOWN_KEYS, ConfigError, load_config

TEXT = """\
model = dict(backbone=dict(depth=12, norm_cfg=dict(type='LN')), heads=[dict(a=1), dict(a=2)])
test_cfg = dict(schedules=[0, 4])
my_own_note = 'kept'
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / 'given.py').write_text(TEXT)
    return str(tmp_path / 'given.py')


def refusal(path: str | Path, *options: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(str(path), options)
    return str(error.value)


def test_a_config_is_read_as_it_is(path: str) -> None:
    config = load_config(path)
    assert config.model.backbone.depth == 12
    assert config.test_cfg.schedules == [0, 4]
    assert config.my_own_note == 'kept'


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('6', 6),
        ('1e-3', 1e-3),
        ('None', None),
        ('False', False),
        ('[1, 2]', [1, 2]),
        ("dict(type='x')", {'type': 'x'}),
        ('[dict(a=1)]', [{'a': 1}]),
        ('{"a": null}', {'a': None}),
        ('true', True),
        ('dict(open("x"))', 'dict(open("x"))'),
        ('some/path=with.equals', 'some/path=with.equals'),
        ('', ''),
        ("'6'", '6'),
    ],
)
def test_options_are_python_where_they_can_be_and_text_elsewhere(
    path: str, text: str, value: Any
) -> None:
    found = load_config(path, [f'model.backbone.depth={text}']).model.backbone.depth
    assert found == value
    assert isinstance(found, type(value))


def test_options_change_nothing_else(path: str) -> None:
    changed = load_config(path, ['model.backbone.depth=6', 'model.backbone.extra=1'])
    assert changed.model.backbone.to_dict() == {
        'depth': 6,
        'norm_cfg': {'type': 'LN'},
        'extra': 1,
    }
    assert changed.test_cfg == load_config(path).test_cfg


def test_options_reach_into_lists(path: str) -> None:
    heads = load_config(path, ['model.heads.1.a=5']).model.heads
    assert [head['a'] for head in heads] == [1, 5]


@pytest.mark.parametrize('option', ['abc', '=3', '', 'model.backbone'])
def test_an_option_without_key_and_value_is_refused(path: str, option: str) -> None:
    said = refusal(path, option)
    assert 'key=value' in said and repr(option) in said


def test_an_option_that_is_given_two_values_is_refused(path: str) -> None:
    twice = ('model.backbone.depth=6', 'model.backbone.depth=7')
    assert '--cfg-options gives model.backbone.depth twice: 6 and 7' in refusal(path, *twice)


@pytest.mark.parametrize(
    ('option', 'part'),
    [
        ('model.backbon.depth=6', 'backbon'),
        ('modle.backbone.depth=6', 'modle'),
        ('model.heads.2.a=1', '2'),
        ('model.heads.x.a=1', 'x'),
    ],
)
def test_a_misspelt_path_of_an_option_is_named(path: str, option: str, part: str) -> None:
    said = refusal(path, option)
    assert option in said and repr(part) in said


def test_a_path_that_goes_on_below_a_number_is_refused(path: str) -> None:
    assert 'model.backbone.depth.deeper' in refusal(path, 'model.backbone.depth.deeper=1')


def test_a_missing_config_is_answered_with_those_of_similar_name(path: str) -> None:
    wanted = Path(path).with_name('givne.py')
    said = refusal(wanted)
    assert f'config {wanted} does not exist' in said
    assert 'given.py' in said


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('model = dict(\n', 'SyntaxError'),
        ('model = dict(depth=12)\nb = undefined_name\n', 'undefined_name'),
        ("_base_ = 'not_there.py'\n", 'not_there.py'),
        ("custom_imports = dict(imports=['no_such_module_here'])\n", 'no_such_module_here'),
        ('x = 1 / 0\n', 'division by zero'),
    ],
    ids=['syntax', 'name', 'base', 'import', 'division'],
)
def test_a_config_that_cannot_run_says_why(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / 'wrong.py'
    config.write_text(text)
    message = refusal(config)
    assert str(config) in message and said in message


def test_the_line_of_a_syntax_error_is_named(tmp_path: Path) -> None:
    config = tmp_path / 'wrong.py'
    config.write_text('a = 1\nb = 2\nmodel = dict(]\n')
    assert 'line 3' in refusal(config)


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('test_dataloder', 'test_dataloader'),
        ('testcfg', 'test_cfg'),
        ('optim_wraper', 'optim_wrapper'),
        ('custom_import', 'custom_imports'),
    ],
)
def test_a_misspelt_key_is_answered_with_the_right_one(
    tmp_path: Path, key: str, meant: str
) -> None:
    config = tmp_path / 'wrong.py'
    config.write_text(f'{key} = dict()\n')
    said = refusal(config)
    assert repr(key) in said and f'did you mean {meant!r}?' in said


@pytest.mark.parametrize('key', KNOWN_KEYS)
def test_no_known_key_is_taken_for_another(tmp_path: Path, key: str) -> None:
    config = tmp_path / 'right.py'
    config.write_text(f'{key} = dict()\n')
    assert key in load_config(str(config))


def test_a_misspelt_key_of_an_option_is_refused(path: str) -> None:
    assert 'test_evaluator' in refusal(path, 'test_evaluater=[]')


def test_a_bare_name_of_a_config_is_found_in_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'sta_vit_k400.py').touch()
    (tmp_path / 'setup.py').touch()
    said = refusal('sta_vit_k400.py')
    assert 'sta_vit_k400.py does not exist' in said
    assert 'configs/ holds sta_vit_k400.py' in said and 'setup.py' not in said
