"""One pass over the data gives every variant the scores that it gets alone, and its cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import decord
import numpy as np
import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.datasets import decoding
from sta.engine.config import load_config
from sta.engine.session import build_model, build_test_runner
from sta.pruning import expand_variants, parse_pruner_text, tubelet_changes
from sta.report import Scores, read_scores

from .tiny import HEIGHT, NUM_CLASSES, PRUNERS, WIDTH, Tiny, run_tool

VARIANTS = [(pruner, drop) for pruner in PRUNERS for drop in ('2', '4', '1,2,4')]
ALONE = [*((pruner, '4') for pruner in PRUNERS), ('sta', '1,2,4')]
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


def scores_of(tiny: Tiny, folder: Path, *arguments: object) -> Scores:
    assert run_tool('test', tiny.six_views, tiny.checkpoint, '--work-dir', folder, *arguments) == 0
    return read_scores(folder / 'scores.npz')


@pytest.fixture(scope='module')
def one_pass(tiny, tmp_path_factory) -> dict[str, np.ndarray]:
    """Scores (videos, classes) of every variant, found in one pass over two clips x three crops."""
    folder = tmp_path_factory.mktemp('run') / 'one_pass'
    schedules = ('0', '2', '4', '1,2,4')
    found = scores_of(tiny, folder, '--schedules', *schedules, '--pruners', *PRUNERS)
    assert tuple(Path(name).name for name in found.names) == tiny.names
    assert tuple(found.labels) == tiny.labels
    return dict(zip(found.variants, found.scores, strict=True))


def test_every_variant_was_run_and_they_differ(one_pass) -> None:
    assert list(one_pass) == ['unpruned', *(f'{pruner}-{drop}' for pruner, drop in VARIANTS)]
    found = list(one_pass.values())
    for i, scores in enumerate(found):
        np.testing.assert_allclose(scores.sum(1), 1.0, atol=1e-5)
        for other in found[:i]:
            assert np.abs(scores - other).max() > 1e-3  # 100 times what equal means below


@pytest.mark.parametrize(('pruner', 'drop'), ALONE)
def test_a_variant_alone_scores_the_same(tiny, tmp_path, one_pass, pruner, drop) -> None:
    alone = scores_of(tiny, tmp_path / 'run', '--schedules', drop, '--pruners', pruner)
    assert alone.variants == (f'{pruner}-{drop}',)
    np.testing.assert_allclose(alone.scores[0], one_pass[f'{pruner}-{drop}'], atol=1e-5)


@pytest.mark.parametrize(
    'options',
    [
        ('test_dataloader.batch_size=1', 'test_cfg.max_views_per_forward=5'),
        ('test_dataloader.batch_size=7', 'test_dataloader.num_workers=1'),
        ('test_cfg.max_views_per_forward=1',),
    ],
)
def test_how_the_views_are_batched_does_not_matter(tiny, tmp_path, one_pass, options) -> None:
    other = scores_of(tiny, tmp_path / 'run', '--cfg-options', *options)
    assert len(other.variants) == 9
    for name, scores in zip(other.variants, other.scores, strict=True):
        np.testing.assert_allclose(scores, one_pass[name], atol=1e-5)


def views_by_hand(path: Path) -> torch.Tensor:
    """(6, 3, 16, 32, 32): VideoMAE's two clips and three crops of a video, from its description."""
    reader = decord.VideoReader(str(path), num_threads=1)
    n = len(reader)
    both = sorted(int(n / 16 / 2 + n / 16 * x) for x in range(16))
    both = sorted(both + [int(n / 16 * x) for x in range(16)])
    width = int(32 * WIDTH / HEIGHT)
    views = []
    for indices in (both[0::2], both[1::2]):
        frames = [cv2.resize(reader[i].asnumpy(), (width, 32)) for i in indices]
        for k in range(3):
            left = int(k * (width - 32) / 2)
            crop = np.stack([frame[:, left : left + 32] for frame in frames])
            views.append(((crop - MEAN) / STD).transpose(3, 0, 1, 2))
    return torch.tensor(np.stack(views), dtype=torch.float32)


@torch.no_grad()
def test_a_plain_loop_by_hand_scores_the_same(tiny, one_pass) -> None:
    model = build_model(load_config(str(tiny.six_views))).eval()
    load_checkpoint(model, tiny.checkpoint)
    pruners = [parse_pruner_text(text) for text in PRUNERS]
    for video, name in enumerate(tiny.names[:3]):
        views = views_by_hand(tiny.folder / 'videos' / name)
        for variant in expand_variants([0, 2, 4, [1, 2, 4]], pruners):
            scores = np.zeros(NUM_CLASSES)
            for view in views:  # one view at a time, no batch that could matter
                model.backbone.set_variant(variant)
                feature = model.backbone(view[None])
                logits = model.cls_head.fc_cls(feature)[0].double().numpy()
                scores += np.exp(logits) / np.exp(logits).sum() / len(views)
            np.testing.assert_allclose(one_pass[variant.name][video], scores, atol=1e-5)


@pytest.mark.parametrize(('schedules', 'pruners'), [(('0',), ('sta',)), ((0, 2, 4), PRUNERS)])
def test_a_video_is_opened_once_however_many_variants_there_are(
    tiny, tmp_path, monkeypatch, schedules, pruners
) -> None:
    opened = tmp_path / 'opened.txt'  # decoding is done by another process

    class Counting(decoding.PyAVReader):
        def __init__(self, path: str, *settings: object, **more: object) -> None:
            with opened.open('a') as file:
                file.write(f'{Path(path).name}\n')
            super().__init__(path, *settings, **more)

    monkeypatch.setattr(decoding, 'PyAVReader', Counting)
    # Pictures of examples would open theirs again.
    arguments = ('--schedules', *schedules, '--pruners', *pruners, '--examples', 0)
    scores_of(tiny, tmp_path / 'run', *arguments)
    assert opened.read_text().splitlines() == list(tiny.names)


RLT = ('--pruners', 'rlt:threshold=0.6', 'sta', '--schedules', '0', '2')


def row(folder: Path, name: str) -> dict:
    rows = json.loads((folder / 'results.json').read_text())['rows']
    return next(row for row in rows if row['name'] == name)


def views(config: Path, checkpoint: Path, folder: Path) -> torch.Tensor:
    """Every view of the data set, (videos * views, 3, T, H, W), normalised."""
    loaded = load_config(config, [])
    loaded.work_dir = str(folder)
    runner = build_test_runner(loaded, checkpoint)
    found = []
    for sample in runner.test_loop.dataloader.dataset:
        inputs = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        found.append(runner.model.data_preprocessor(inputs, training=False)['inputs'][0])
    return torch.cat(found)


def cost(tokens: np.ndarray) -> np.ndarray:
    """GFLOPs of the small model by hand: see tests/analysis/test_input_cost.py."""
    width = 24
    block = tokens * width * (12 * width + 10) + 2 * tokens**2 * width
    return (3 * block + 128 * width * 3 * 128 + width * 7 + 5 * width) / 1e9


def test_tokens_and_gflops_are_means_over_the_views(tiny, tmp_path, capsys) -> None:
    """Also those of earlier sessions of the same run."""
    work = tmp_path / 'run'
    command = ('test', tiny.six_views, tiny.checkpoint, *RLT, '--work-dir', work)
    assert run_tool(*command) == 0
    assert 'GFLOPs of rlt depend on the clip: means' in ' '.join(capsys.readouterr().out.split())
    changes = tubelet_changes(views(tiny.six_views, tiny.checkpoint, tmp_path / 'views'), (8, 4, 4))
    tokens = 16 + (changes >= 0.6).flatten(1).sum(1).numpy()
    assert tokens.min() < tokens.max(), 'the clips should differ'
    found = row(work, 'rlt-0.6')
    assert found['gflops_per_view'] == pytest.approx(cost(tokens).mean(), rel=1e-6)
    assert found['tokens_kept'] == round(tokens.mean()) and found['cost_is_average'] is True
    assert row(work, 'sta-2')['cost_is_average'] is False
    assert row(work, 'unpruned')['gflops_per_view'] == pytest.approx(cost(np.array(128.0)))
    # Everything is stored; without results the run counts as cut off and is put together again.
    (work / 'results.json').unlink()
    assert run_tool(*command) == 0
    assert row(work, 'rlt-0.6')['gflops_per_view'] == found['gflops_per_view']


def test_a_budget_chooses_the_threshold_on_clips(tiny, tmp_path, capsys) -> None:
    work = tmp_path / 'run'
    arguments = ('--pruners', 'rlt', '--budget', '0.8', '--work-dir', work)
    assert run_tool('test', tiny.six_views, tiny.checkpoint, *arguments) == 0
    said = capsys.readouterr().out
    threshold, gflops, clips = re.search(
        r'rlt has threshold (\S+), (\S+) GFLOPs on average over (\d+) views', said
    ).groups()
    assert int(clips) == 42  # all there are: 7 videos of 6 views
    found = row(work, f'rlt-{float(threshold):g}')
    assert found['gflops_per_view'] == pytest.approx(float(gflops), rel=1e-3)
    assert found['gflops_per_view'] <= 0.8 * row(work, 'unpruned')['gflops_per_view']


@pytest.mark.parametrize(
    'arguments, words',
    [
        (('--pruners', 'rlt:threshold=-1'), ('threshold must be', '-1')),
        (('--pruners', 'rlt:threshold=much'), ('threshold must be', "'much'")),
        (('--pruners', 'rlt:tau=1'), ("no argument ['tau']", 'threshold')),
        (('--pruners', 'rlt', '--budget', '0.05'), ('rlt: budget 0.05', 'always stays')),
        (('--pruners', 'rlt', '--budget', '2'), ('rlt: ', 'between 0 and 1')),
    ],
)
def test_what_can_go_wrong_with_costs_of_clips(tiny, refused, arguments, words) -> None:
    refused('test', tiny.one_view, tiny.checkpoint, *arguments, said=words)


def test_counting_without_clips_is_refused(tiny, refused) -> None:
    said = ('depends on the clips', 'tools/test.py')
    for arguments in (('--pruners', 'rlt'), ('--pruners', 'rlt', '--budget', '0.8')):
        refused('count_flops', tiny.one_view, *arguments, said=said)
