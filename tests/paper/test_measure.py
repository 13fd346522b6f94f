"""The whole way: on a narrow ViT-S with videos laid out as real ones, and on the small models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from sta.engine.session import build_model
from sta.paper import Column, Record, Table, build_tables
from sta.paper import measure as measuring
from sta.paper.experiment import (
    Experiment,
    ablated,
    config_pruners,
    random,
    setting_of,
    sta,
    variant_of,
)
from sta.paper.inputs import find_inputs, small, smoke_inputs
from sta.paper.measure import Measured, Request, add_speeds, plan_runs, speeds_of
from sta.paper.reproduce import for_people, legend_of, notes_of, reproduce
from sta.paper.tables import fig5, smoke_table
from sta.report import read_scores
from tests.tools.tiny import run_tool, save_weights, write_video

from .conftest import ROOT

ALL = [table.name for table in build_tables(['all'])]
VIT_S = setting_of('ViT-S', 'k400', (1, 1))
CONFIG = f"""\
_base_ = {str(ROOT / 'configs/sta_vit_s_k400.py')!r}
model = dict(backbone=dict(embed_dims=24, num_heads=3), cls_head=dict(in_channels=24))
test_dataloader = dict(num_workers=0)
"""
LABELS = (7, 3, 7)


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a config, three videos and a checkpoint."""
    folder = tmp_path_factory.mktemp('world')
    videos = folder / 'data/kinetics400/videos_val'
    videos.mkdir(parents=True)
    (folder / 'configs').mkdir()
    (folder / 'weights').mkdir()
    (folder / 'configs/sta_vit_s_k400.py').write_text(CONFIG)
    for i in range(len(LABELS)):
        write_video(videos / f'{i}.mp4', seed=i, num_frames=20)
    lines = ''.join(f'{i}.mp4 {label}\n' for i, label in enumerate(LABELS))
    (videos.parent / 'kinetics400_val_list_videos.txt').write_text(lines)
    weights = folder / 'weights/vit_s_k400.safetensors'
    save_weights(folder / 'configs/sta_vit_s_k400.py', weights)
    return folder


def table() -> Table:
    columns = [
        Column(str(i), quantity)
        for i, quantity in enumerate(('gflops', 'top1', 'top1', 'top1', 'top1', 'trajectory_sum'))
    ]
    experiments = (
        sta(VIT_S, 0),
        sta(VIT_S, 0),
        sta(VIT_S, 64),
        ablated(VIT_S, 64, 'score', 'temporal'),
        sta(setting_of('ViT-S', 'ssv2'), 0),
        random(VIT_S, 64),
    )
    published = (57, 78.8, 78.1, 77.8, 66.8, 5.1)
    records = map(Record, 'S' * 6, columns, published, experiments)
    return Table('t', 'T', 'model', tuple(columns), tuple(records))


def settings() -> list:
    return list(plan_runs([table()], ('top1', 'trajectory_sum')))


def go(world: Path, out: Path) -> tuple:
    inputs = find_inputs(world, world / 'weights', world / 'data', settings())
    (world / 'configs/sta_vit_s_ssv2.py').write_text(CONFIG.replace('_k400', '_ssv2'))
    filled, _ = reproduce(Request((table(),), world, out=out, command='test'), inputs)
    return filled[0], inputs


@pytest.fixture(scope='module')
def evaluated(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """The filled table, what there was, and the folder of the evaluation."""
    out = tmp_path_factory.mktemp('evaluated')
    found, inputs = go(world, out)
    [results] = (out / 'runs/vit_s_k400_1x1').glob('*/results.json')
    return found, inputs, results.parent


def test_a_partly_filled_table(evaluated: tuple) -> None:
    found, inputs, folder = evaluated
    cost, unpruned, pruned, ablation, ssv2, _ = found.records
    assert ssv2.needs == 'SSV2 + vit_s_ssv2.pth' and ssv2.ours is None
    scores = read_scores(folder / 'scores.npz')
    assert scores.variants == ('unpruned', 'sta-64', 'temporal-64')
    own = 100 * np.mean(scores.scores.argmax(-1) == np.array(LABELS), axis=1)
    assert [c.ours for c in (unpruned, pruned, ablation)] == pytest.approx(own.tolist())
    assert pruned.difference == pytest.approx(own[1] - 78.1)
    assert cost.ours == pytest.approx(1.61, abs=0.01)  # of the narrow model
    assert 'vit_s_k400_1x1: 3 videos x 1 view, fp32 on CPU, ' in notes_of(found)[-1]
    legend = '\n'.join(legend_of([found], inputs))
    assert 'vit_s_ssv2 or videomae-small-finetuned-ssv2: missing' in legend
    assert 'SSV2: sthv2/sthv2_val_list_videos.txt and sthv2/videos/: missing' in legend
    made = json.loads((folder / 'results.json').read_text())['environment']
    assert made['checkpoint'].endswith('weights/vit_s_k400.safetensors')


def test_it_is_what_the_test_tool_finds(world: Path, evaluated: tuple, tmp_path: Path) -> None:
    _, inputs, folder = evaluated
    arguments = ['--cfg-options', *inputs.options(VIT_S), '--work-dir', tmp_path / 'tool']
    weights = world / 'weights/vit_s_k400.safetensors'
    config = world / 'configs/sta_vit_s_k400.py'
    assert run_tool('test', config, weights, '--schedules', '0', '64', *arguments) == 0
    ours, theirs = (read_scores(f / 'scores.npz') for f in (folder, tmp_path / 'tool'))
    np.testing.assert_array_equal(ours.scores[:2], theirs.scores)


def test_other_weights_get_a_folder_of_their_own(
    world: Path, evaluated: tuple, tmp_path: Path
) -> None:
    _, inputs, folder = evaluated
    other = tmp_path / 'other.safetensors'
    weights = load_file(world / 'weights/vit_s_k400.safetensors')
    save_file({name: value / 2 for name, value in weights.items()}, other)
    inputs = replace(inputs, checkpoints={'vit_s_k400': other})
    out = folder.parents[2]
    reproduce(Request((table(),), world, out=out), inputs)
    assert len(list(folder.parent.glob('*/results.json'))) == 2


def test_trajectory_sums_are_averaged_over_the_clips(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fake(model, clips, variant) -> float:
        assert clips.shape[1:] == (3, 16, 224, 224) and not model.training
        seen.append((variant.name, len(clips)))
        return float(clips.mean())

    monkeypatch.setattr(measuring, 'mean_trajectory_sum', fake)
    found, _ = go(world, tmp_path)
    assert found.records[-1].needs == ''
    assert abs(found.records[-1].ours) < 3
    assert seen == [('random-64', 1)] * 3


def test_one_pruner_of_a_config_holds_all_its_schedules() -> None:
    experiments = [sta(VIT_S, 0), random(VIT_S, 32), sta(VIT_S, 64), random(VIT_S, 64)]
    assert config_pruners(experiments) == [
        {'type': 'STAPruner', 'schedules': [0, 64]},
        {'type': 'RandomPruner', 'schedules': [32, 64]},
    ]
    assert variant_of(experiments[1]).pruner == {'type': 'RandomPruner'}


def run(names: list[str], folder: Path) -> list[Table]:
    request = Request(tuple(build_tables(names)), ROOT, out=folder, is_smoke=True, command='test')
    inputs = smoke_inputs(ROOT, num_views=1)
    filled, written = reproduce(request, inputs)
    assert all(path.is_file() for path in written)
    assert len(written) == 4 * len(names) + 2 * ('fig5' in names)
    return filled


def check(filled: Sequence[Table]) -> None:
    for table in filled:
        for record in table.records:
            if record.quantity in ('top1', 'top5'):
                assert 0 <= record.ours <= 100, (table.name, record.row)
            if record.quantity == 'gflops':
                assert 0.2 < record.ours < 0.6
            assert record.published is None
        headings = for_people(table).headings
        assert not any('paper' in heading or heading == 'diff' for heading in headings)


def test_every_experiment_but_the_many_views_runs(tmp_path: Path) -> None:
    names = [name for name in ALL if name != 'supp2']
    check(run(names, tmp_path))
    folders = {path.parent.parent.name for path in tmp_path.glob('runs/*/*/results.json')}
    assert folders == {
        'smoke_vit_k400_5x3',
        'smoke_vit_ssv2_2x3',
        'smoke_swin_k400_4x3',
        'smoke_swin_ssv2_1x3',
    }
    found = json.loads((tmp_path / 'table6a.json').read_text())
    assert found['smoke'] is True and found['title'].startswith('SMOKE')


@pytest.mark.slow
def test_every_experiment_runs(tmp_path: Path) -> None:
    check(run(ALL, tmp_path))


def test_what_is_finished_is_not_done_again_and_what_was_cut_off_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = run(['table5'], tmp_path)
    [results] = tmp_path.glob('runs/smoke_vit_ssv2_2x3/*/results.json')
    results.unlink()  # the last thing a run writes
    capsys.readouterr()
    again = run(['table5'], tmp_path)
    said = capsys.readouterr().out
    assert f'{results.parent}, which was cut off' in said
    assert said.count('which was finished') == 1
    assert results.is_file()
    numbers = [[record.ours for record in tables[0].records] for tables in (first, again)]
    assert numbers[0] == numbers[1]


def test_every_schedule_of_figure_5_is_timed_and_nothing_else() -> None:
    measured, table = Measured(), smoke_table(fig5())
    add_speeds(measured, [table], smoke_inputs(ROOT))
    asked = {('clips_per_s', experiment) for experiment in table.experiments('clips_per_s')}
    assert set(measured.values) == asked and len(asked) == 7
    assert all(value > 0 for value in measured.values.values())


def test_each_speed_is_of_its_own_variant(monkeypatch) -> None:
    """A clock that counts kept tokens in place of seconds."""
    experiments: list[Experiment] = [small(sta(setting_of('ViT-L', 'k400'), r)) for r in (0, 64)]
    model = build_model(smoke_inputs(ROOT).config(experiments[0].setting)).eval()
    left: list[int] = []

    def fake(contestants, *, batch_size, rounds, warm_up, is_cuda):
        hook = model.backbone.blocks[-1].register_forward_hook(
            lambda _, inputs, __: left.append(inputs[0].shape[1])
        )
        timings = []
        for run in contestants.values():
            run()
            timings.append(type('T', (), {'clips_per_s': float(left[-1])}))
        hook.remove()
        return timings

    monkeypatch.setattr(measuring, 'time_interleaved', fake)
    assert list(speeds_of(model, experiments).values()) == [288.0, 120.0]
