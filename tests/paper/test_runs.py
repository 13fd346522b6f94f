"""The whole way with weights and videos laid out as real ones, on a narrow ViT-S."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from sta.paper import Cell, Column, Row, Table, trajectory
from sta.paper.experiment import config_pruners, variant_of
from sta.paper.inputs import find_inputs
from sta.paper.reproduction import Request, legend_of, reproduce
from sta.paper.runs import plan_runs
from sta.paper.settings import ablated, random, setting_of, sta
from sta.report import read_scores
from tests.tools.tiny import run_tool, save_weights, write_video

from .conftest import ROOT

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
    cells = (
        Cell(57, 'gflops', sta(VIT_S, 0)),
        Cell(78.8, 'top1', sta(VIT_S, 0)),
        Cell(78.1, 'top1', sta(VIT_S, 64)),
        Cell(77.8, 'top1', ablated(VIT_S, 64, 'score', 'temporal')),
        Cell(66.8, 'top1', sta(setting_of('ViT-S', 'ssv2'), 0)),
        Cell(5.1, 'trajectory_sum', random(VIT_S, 64)),
    )
    return Table('t', 'T', 'model', tuple(Column(str(i)) for i in range(6)), (Row('S', cells),))


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
    cost, unpruned, pruned, ablation, ssv2, _ = found.cells[0]
    assert ssv2.needs == 'SSV2 + vit_s_ssv2.pth' and ssv2.ours is None
    scores = read_scores(folder / 'scores.npz')
    assert scores.variants == ('unpruned', 'sta-64', 'temporal-64')
    own = 100 * np.mean(scores.scores.argmax(-1) == np.array(LABELS), axis=1)
    assert [c.ours for c in (unpruned, pruned, ablation)] == pytest.approx(own.tolist())
    assert pruned.difference == pytest.approx(own[1] - 78.1)
    assert cost.ours == pytest.approx(1.61, abs=0.01)  # of the narrow model
    assert 'vit_s_k400_1x1: 3 videos x 1 view, fp32 on CPU, ' in found.notes()[-1]
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

    monkeypatch.setattr(trajectory, 'mean_trajectory_sum', fake)
    found, _ = go(world, tmp_path)
    assert found.cells[0][-1].needs == ''
    assert abs(found.cells[0][-1].ours) < 3
    assert seen == [('random-64', 1)] * 3


def test_one_pruner_of_a_config_holds_all_its_schedules() -> None:
    experiments = [sta(VIT_S, 0), random(VIT_S, 32), sta(VIT_S, 64), random(VIT_S, 64)]
    assert config_pruners(experiments) == [
        {'type': 'STAPruner', 'schedules': [0, 64]},
        {'type': 'RandomPruner', 'schedules': [32, 64]},
    ]
    assert variant_of(experiments[1]).pruner == {'type': 'RandomPruner'}
