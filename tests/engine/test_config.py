"""Configs as they are loaded, with options of the command line; what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sta.engine.config import KNOWN_KEYS, load_config
from sta.errors import ConfigError
from sta.start import REPOSITORY

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
    value = "'mmaction'" if key == 'default_scope' else 'dict()'
    config.write_text(f'{key} = {value}\n')
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


def test_paths_of_shipped_configs_lead_into_the_repository(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    decoy = tmp_path / 'data/motions/val.txt'
    decoy.parent.mkdir(parents=True)
    decoy.write_text('mine.mp4 0\n')
    (tmp_path / 'mine.py').write_text(
        f'_base_ = {str(REPOSITORY / "configs/sta_vit_motions.py")!r}\n'
    )
    for path in ('configs/sta_vit_motions.py', 'mine.py'):
        dataset = load_config(path).test_dataloader.dataset
        assert dataset.ann_file == str(REPOSITORY / 'data/motions/val.txt')
        assert dataset.data_prefix.video == str(REPOSITORY / 'data/motions')
        assert dataset.classes == str(REPOSITORY / 'data/motions/classes.txt')
    start = load_config('configs/train_sta_vit_motions_finetune.py').load_from
    assert start == str(REPOSITORY / 'checkpoints/sta_vit_motions.safetensors')
    monkeypatch.chdir(REPOSITORY)
    assert load_config('configs/sta_vit_motions.py').data_root == 'data/motions'


def test_other_paths_are_looked_for_here_then_beside_the_config_then_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside = tmp_path / 'here', tmp_path / 'beside'
    here.mkdir()
    (beside / 'videos').mkdir(parents=True)
    key = 'test_dataloader.dataset.ann_file'
    base = str(REPOSITORY / 'configs/sta_vit_motions.py')
    own = 'dict(ann_file="list.txt", data_prefix=dict(video="videos"), classes="ssv2")'
    (beside / 'mine.py').write_text(f'_base_ = {base!r}\ntest_dataloader = dict(dataset={own})\n')
    monkeypatch.chdir(here)

    def found(*options: str) -> str:
        return load_config('../beside/mine.py', options).test_dataloader.dataset.ann_file

    assert found() == 'list.txt'  # nowhere: as it was written
    (beside / 'list.txt').touch()
    assert found() == str(beside / 'list.txt')
    (here / 'list.txt').touch()
    assert found() == 'list.txt'
    assert found(f'{key}=data/motions/val.txt') == str(REPOSITORY / 'data/motions/val.txt')
    assert found(f'{key}=/nowhere/list.txt') == '/nowhere/list.txt'
    dataset = load_config('../beside/mine.py').test_dataloader.dataset
    assert dataset.data_prefix.video == str(beside / 'videos') and dataset.classes == 'ssv2'


@pytest.mark.parametrize('text', ['nan', '-NaN', 'inf', '+Infinity'])
def test_numbers_that_are_none_are_refused(path: str, text: str) -> None:
    said = refusal(path, f'model.backbone.depth={text}')
    assert f'model.backbone.depth={text}: {text} is no value of a setting' in said


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('test_cfg=3', 'test_cfg must be a dict, got 3'),
        ('model.backbone=[1]', 'model.backbone must be a dict, got [1]'),
        ('test_dataloader=dict(dataset=3)', 'test_dataloader.dataset must be a dict, got 3'),
        ('test_dataloader=dict(dataset=dict(pipeline=[]))', 'pipeline must be a list of at least'),
    ],
)
def test_parts_of_the_wrong_kind_are_named(path: str, option: str, said: str) -> None:
    assert said in refusal(path, option)


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('batch_size=0', 'batch_size must be a whole number of at least 1, got 0'),
        ('batch_size=True', 'batch_size must be a whole number of at least 1, got True'),
        ('num_workers=-1', 'num_workers must be a whole number of at least 0, got -1'),
        ('num_workers="two"', "num_workers must be a whole number of at least 0, got 'two'"),
        ('dataset=dict(pipeline=[dict(clip_len=0)])', 'pipeline.0.clip_len must be a whole number'),
        ('dataset=dict(pipeline=[dict(num_crops=1.5)])', 'num_crops must be a whole number'),
    ],
)
@pytest.mark.parametrize('part', ['train', 'test'])
def test_numbers_of_loading_that_cannot_be(path: str, part: str, option: str, said: str) -> None:
    assert said in refusal(path, f'{part}_dataloader=dict({option})')


def test_no_workers_need_no_settings_of_workers(path: str) -> None:
    """num_workers=0 is what the line of a dead worker asks for."""
    given = 'dict(num_workers=2, persistent_workers=True, prefetch_factor=4)'
    none = given.replace('num_workers=2', 'num_workers=0')
    config = load_config(path, [f'train_dataloader={given}', f'test_dataloader={none}'])
    assert dict(config.train_dataloader) == dict(
        num_workers=2, persistent_workers=True, prefetch_factor=4
    )
    assert dict(config.test_dataloader) == dict(
        num_workers=0, persistent_workers=False, prefetch_factor=None
    )


def test_a_config_that_ends_the_process_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'exit.py').write_text('raise SystemExit(3)\n')
    assert 'exit.py cannot be read: SystemExit: 3' in refusal(tmp_path / 'exit.py')


def test_a_config_of_an_earlier_version_names_modules_that_have_moved(tmp_path) -> None:
    text = "custom_imports = dict(imports=['sta.datasets.rand_augment', 'sta.models'])\n"
    (tmp_path / 'dumped.py').write_text(text)
    config = load_config(str(tmp_path / 'dumped.py'))
    assert config.custom_imports['imports'] == ['sta.datasets.augmentation', 'sta.models']
