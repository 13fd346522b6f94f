"""One pass over the data gives every variant the scores that it gets alone, or by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import decord
import numpy as np
import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.datasets import decoding
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.pruning import expand_variants, parse_pruner_text
from sta.report import Scores, read_scores

from .tiny import HEIGHT, NUM_CLASSES, PRUNERS, WIDTH, Tiny, run_tool

VARIANTS = [(pruner, drop) for pruner in PRUNERS for drop in ('2', '4', '1,2,4')]
ALONE = [*((pruner, '4') for pruner in PRUNERS), ('sta', '2'), ('sta', '1,2,4'), ('tome', '2')]
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


def scores_of(tiny: Tiny, folder: Path, *arguments: object) -> Scores:
    assert run_tool('test', tiny.six_views, tiny.checkpoint, '--work-dir', folder, *arguments) == 0
    return read_scores(folder / 'scores.npz')


@pytest.fixture(scope='module')
def one_pass(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Scores (videos, classes) of every variant, found in one pass over two clips x three crops."""
    folder = tmp_path_factory.mktemp('run') / 'one_pass'
    schedules = ('0', '2', '4', '1,2,4')
    found = scores_of(tiny, folder, '--schedules', *schedules, '--pruners', *PRUNERS)
    assert tuple(Path(name).name for name in found.names) == tiny.names
    assert tuple(found.labels) == tiny.labels
    return dict(zip(found.variants, found.scores, strict=True))


def test_every_variant_was_run_and_they_differ(one_pass: dict[str, np.ndarray]) -> None:
    assert list(one_pass) == ['unpruned', *(f'{pruner}-{drop}' for pruner, drop in VARIANTS)]
    found = list(one_pass.values())
    for i, scores in enumerate(found):
        np.testing.assert_allclose(scores.sum(1), 1.0, atol=1e-5)
        for other in found[:i]:
            assert np.abs(scores - other).max() > 1e-3  # 100 times what equal means below


@pytest.mark.parametrize(('pruner', 'drop'), ALONE)
def test_a_variant_alone_scores_the_same(
    tiny: Tiny, tmp_path: Path, one_pass: dict[str, np.ndarray], pruner: str, drop: str
) -> None:
    alone = scores_of(tiny, tmp_path / 'run', '--schedules', drop, '--pruners', pruner)
    assert alone.variants == (f'{pruner}-{drop}',)
    np.testing.assert_allclose(alone.scores[0], one_pass[f'{pruner}-{drop}'], atol=1e-5)


@pytest.mark.parametrize(
    'option',
    [
        'test_dataloader.batch_size=1',
        'test_dataloader.batch_size=7',
        'test_cfg.max_views_per_forward=1',
        'test_cfg.max_views_per_forward=5',
        'test_dataloader.num_workers=1',
    ],
)
def test_how_the_views_are_batched_does_not_matter(
    tiny: Tiny, tmp_path: Path, one_pass: dict[str, np.ndarray], option: str
) -> None:
    other = scores_of(tiny, tmp_path / 'run', '--cfg-options', option)
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
def test_a_plain_loop_by_hand_scores_the_same(tiny: Tiny, one_pass: dict[str, np.ndarray]) -> None:
    model = build_model(load_config(str(tiny.six_views))).eval()
    load_checkpoint(model, tiny.checkpoint)
    pruners = [parse_pruner_text(text) for text in PRUNERS]
    for video, name in enumerate(tiny.names):
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
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedules: tuple, pruners: tuple
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
