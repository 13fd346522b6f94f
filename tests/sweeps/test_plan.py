"""What a sweep may say, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.errors import ConfigError, VariantError
from sta.paper import build_tables
from sta.paper.inputs import accepted
from sta.sweeps.plan import Evaluation, Sweep, parse_minutes, read_sweep

ROOT = Path(__file__).parents[2]
ONE = 'evaluations: [{config: a.py, checkpoint: a.pth}]\n'


def read(tmp_path: Path, text: str, **typed: object) -> Sweep:
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    return read_sweep(path, typed)


def test_everything_at_once(tmp_path: Path) -> None:
    text = """
    evaluations:
      - {config: configs/a.py, checkpoint: a.pth, schedules: [0, [8, 2]], shards: 3}
      - {name: b, config: configs/a.py, checkpoint: b.pth, budget: [0.8], cfg_options: x.y=1}
    schedules: [0, 64]
    pruners: [sta, 'sta:score=temporal']
    seeds: 2
    amp: bf16
    max_videos: 100
    executor: slurm
    partition: gpu
    gpus_per_task: 2
    time: 4:30:00
    slurm: {account: me, --qos: low}
    """
    sweep = read(tmp_path, text, shards=2)
    common = ('--pruners', 'sta', 'sta:score=temporal')
    after = ('--seeds', '2', '--amp', 'bf16', '--max-videos', '100')
    one = ('--schedules', '0', '8,2', *common, *after)
    two = (*common, '--budget', '0.8', *after, '--cfg-options', 'x.y=1')
    assert sweep.name == 'mine'
    assert sweep.evaluations == (
        Evaluation('a', 'configs/a.py', 'a.pth', one, shards=3, processes=2),
        Evaluation('b', 'configs/a.py', 'b.pth', two, shards=2, processes=2),
    )
    assert sweep.resources.minutes == 270
    assert sweep.resources.slurm == {'account': 'me', 'qos': 'low'}


def test_the_command_line_alone() -> None:
    typed = dict(configs=['a.py', 'a.py'], checkpoints=['x.pth', 'y.pth'], shards=None)
    sweep = read_sweep(None, typed)
    assert [one.name for one in sweep.evaluations] == ['a-x', 'a-y']
    assert sweep.name == 'a-x+a-y'
    assert sweep.resources.executor == 'local'


@pytest.mark.parametrize('path', sorted((ROOT / 'sweeps').glob('*.yaml')), ids=lambda p: p.stem)
def test_the_shipped_sweeps(path: Path) -> None:
    for one in read_sweep(path, {}).evaluations:
        assert (ROOT / one.config).is_file(), one.config


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
        key = (
            f'configs/{experiment.setting.config}.py',
            accepted(experiment.setting.checkpoint)[0],
        )
        wanted.setdefault(key, set()).add(experiment.schedule)
    assert found == wanted


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'must be keys and values, got NoneType'),
        ('- a\n- b\n', 'must be keys and values, got list'),
        ('a: [', 'is no YAML'),
        ('!!python/object/apply:os.system [ls]', 'is no YAML'),
        (ONE + 'shard: 2\n', "unknown key 'shard'; did you mean 'shards'?"),
        (ONE + 'schedule: [0]\n', "unknown key 'schedule'; did you mean 'schedules'?"),
        (ONE + 'max-parallel: 2\n', "unknown key 'max-parallel'; did you mean 'max_parallel'?"),
        ('evaluations: [{config: a.py, checkpoints: a}]', "did you mean 'checkpoint'?"),
        ('evaluations: [{config: a.py}]', r'evaluation 1 has no checkpoint \(a\)'),
        ('evaluations: [{checkpoint: a.pth}]', 'evaluation 1 has no config'),
        ('evaluations: []', 'at least one entry'),
        ('evaluations: [a.py]', "must have config and checkpoint, got 'a.py'"),
        ('pruners: [sta]', 'nothing to evaluate'),
        ('configs: [a.py, b.py]\ncheckpoints: [a.pth]', '2 configs and 1 checkpoints'),
        (ONE + 'shards: 0\n', 'shards must be at least 1, got 0'),
        (ONE + 'shards: 1.5\n', 'shards must be at least 1, got 1.5'),
        (ONE + 'max_videos: all\n', "max_videos must be at least 1, got 'all'"),
        (ONE + 'executor: pbs\n', "executor is local or slurm, got 'pbs'"),
        (ONE + 'executor: slurm\n', 'executor slurm needs a partition'),
        (ONE + 'time: soon\n', "time is minutes or as 4:00:00 or 1-12:00:00, got 'soon'"),
        (ONE + 'time: 0\n', 'time must be at least a minute'),
        (ONE + 'slurm: [a]\n', 'slurm must be options of sbatch'),
        (ONE + 'amp: fp8\n', "evaluation 1: amp: invalid choice: 'fp8'.*bf16.*fp16"),
        (ONE + 'budget: [80]\n', 'budget is shares such as 0.8 0.6, got 80'),
        (
            ONE + 'budget: [0.8]\nschedules: [0]\n',
            'evaluation 1: budget: not allowed with argument --schedules',
        ),
        (ONE + 'name: ../up\n', 'is no name for a folder'),
        (ONE + 'gpus_per_task: -1\n', 'gpus_per_task must be 0 or more'),
        (ONE + 'pruners: [stat]\n', "evaluation 1: unknown pruner 'stat'"),
        (ONE + 'schedules: [many]\n', "evaluation 1: schedule 'many' is not understood"),
        (ONE + 'seeds: true\n', 'seeds must be at least 1, got True'),
        (ONE + 'on_nonfinite: skip\n', "on-nonfinite: invalid choice: 'skip'.*error.*wrong"),
        (
            'evaluations: [{config: a/x.py, checkpoint: a}, {config: b/x.py, checkpoint: b}]',
            "two evaluations are called 'x'",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises((ConfigError, VariantError), match=said) as error:
        read(tmp_path, text)
    assert str(tmp_path / 'mine.yaml') in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('text', 'minutes'),
    [
        ('90', 90),
        (90, 90),
        ('4:00:00', 240),
        ('0:30:01', 31),
        ('90:30', 91),
        ('1-12', 2160),
        ('1-12:30', 2190),
    ],
)
def test_times_as_sbatch_takes_them(text: object, minutes: int) -> None:
    assert parse_minutes(text, 'here') == minutes
