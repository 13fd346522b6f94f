"""The fine-tuning recipe runs on files, from somebody's encoder, with pruning, and can go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from sta.checkpoints import load_encoder
from sta.engine.config import load_config
from sta.engine.session import build_model
from tests.checkpoints.sources import authors_names

from .test_train import difference, weights_of
from .tiny import ROOT, Tiny, run_tool

Change = Callable[[Config], None]


def shrink(config: Config, tiny: Tiny) -> None:
    """To the tiny videos, two epochs, and a model of three narrow blocks."""
    size = {'img_size': 32, 'patch_size': 8, 'embed_dims': 24, 'depth': 3, 'num_heads': 2}
    config.model.backbone.update(size, schedule=4)
    config.model.cls_head.update(num_classes=7, in_channels=24)
    for augment in config.model.data_preprocessor.blending.augments:
        augment.num_classes = 7
    config.optim_wrapper.paramwise_cfg.num_layers = 3
    loader = config.train_dataloader
    loader.update(batch_size=3, num_workers=0, persistent_workers=False)
    loader.dataset.update(
        ann_file=str(tiny.folder / 'list.txt'),
        data_prefix={'video': str(tiny.folder / 'videos')},
        num_classes=7,
    )
    loader.dataset.pipeline[3].transforms[2].scale = (32, 32)
    warm_up, cosine = config.param_scheduler
    warm_up.end = 1
    cosine.update(begin=1, end=2, T_max=1)
    config.train_cfg.max_epochs = 2
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(part)


@pytest.fixture
def recipe(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """Write configs/train_sta_vit_k400.py, shrunk and changed further; with it goes an encoder."""
    encoder = tmp_path / 'encoder.pth'

    def write(name: str, change: Change = lambda config: None) -> Path:
        config = Config.fromfile(str(ROOT / 'configs/train_sta_vit_k400.py'))
        shrink(config, tiny)
        config.pretrained = str(encoder)
        change(config)
        config.dump(tmp_path / f'{name}.py')
        return tmp_path / f'{name}.py'

    weights = build_model(load_config(str(write('plain')))).state_dict()
    generator = torch.Generator().manual_seed(3)
    named = {
        f'encoder.{name}': torch.randn(value.shape, generator=generator) / 5
        for name, value in authors_names(weights).items()
        if name.startswith(('blocks.', 'patch_embed.'))
    }
    torch.save({'model': {**named, 'decoder.norm.bias': torch.ones(3)}}, encoder)
    return write


def groups_of(path: Path) -> list[dict[str, Any]]:
    saved = torch.load(path, weights_only=False)  # our own file
    return saved['optimizer']['param_groups']


def steps_of(path: Path) -> float:
    saved = torch.load(path, weights_only=False)
    return saved['optimizer']['state'][0]['step'].item()


def test_from_an_encoder_with_pruning(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, folder = recipe('recipe'), tmp_path / 'run'
    assert run_tool('train', config, '--work-dir', folder) == 0
    said = capsys.readouterr()
    assert 'begin anew: ' in said.out + said.err and 'decoder.norm.bias' in said.out + said.err
    # 3 videos in a batch: 1e-3 * 3 / 256 for the classifier, 0.75 of it a layer below.
    peak = {group['initial_lr'] for group in groups_of(folder / 'epoch_1.pth')}
    assert sorted(peak) == pytest.approx([1e-3 * 3 / 256 * 0.75**i for i in (4, 3, 2, 1, 0)])
    trained = weights_of(folder / 'epoch_2.pth')
    start = build_model(load_config(str(config)))
    load_encoder(start, tmp_path / 'encoder.pth')
    body = [n for n in trained if n.startswith(('backbone.blocks', 'backbone.patch'))]
    moved = {n: (trained[n] - start.state_dict()[n]).abs().max().item() for n in body}
    # It began at the encoder: a rate of 1e-5 moves a weight by no more than that a step.
    assert 0 < min(moved.values()) and max(moved.values()) < 1e-3

    whole = recipe('whole', lambda config: config.model.backbone.update(schedule=None))
    assert run_tool('train', whole, '--work-dir', tmp_path / 'unpruned') == 0
    found = weights_of(tmp_path / 'unpruned/epoch_2.pth')
    assert difference(found, trained) > 0  # pruning was on

    # A job that may be preempted says --resume from the first time on.
    arguments = ('--resume', '--work-dir', tmp_path / 'first time')
    assert run_tool('train', config, *arguments) == 0
    assert difference(weights_of(tmp_path / 'first time/epoch_2.pth'), trained) == 0

    (tmp_path / 'encoder.pth').unlink()  # needed once, not to go on
    again = tmp_path / 'again'
    again.mkdir()
    (folder / 'epoch_1.pth').rename(again / 'epoch_1.pth')
    arguments = ('--resume', again / 'epoch_1.pth', '--work-dir', again)
    assert run_tool('train', config, *arguments) == 0
    # Augmentation is drawn anew, so the weights are others; four steps were taken, not two.
    assert 0 < difference(weights_of(again / 'epoch_2.pth'), trained) < 1e-4
    assert steps_of(again / 'epoch_2.pth') == steps_of(folder / 'epoch_2.pth') == 4


def test_wrong_recipes(
    recipe: Callable[..., Path], refused: Callable[..., str], tiny: Tiny
) -> None:
    def refuse(change: Change, *said: str) -> None:
        refused('train', recipe('wrong', change), said=said)

    def augment(config: Config) -> None:
        config.train_dataloader.dataset.pipeline[3].transforms[0].magnitude = 30

    def collate(config: Config) -> None:
        config.train_dataloader.collate_fn.type = 'pseudo_collate'

    refuse(augment, 'magnitude must lie between 0 and 10, got 30')
    refuse(collate, 'RepeatedAugmentation', "collate_fn=dict(type='repeat_pseudo_collate')")
    refuse(lambda c: c.update(pretrained='no/encoder.pth'), 'checkpoint no/encoder.pth does not')
    both = str(tiny.checkpoint)
    refuse(lambda c: c.update(load_from=both), 'load_from is', 'pretrained', 'set one to None')
    refuse(
        lambda c: c.model.backbone.update(depth=4),
        'encoder.pth does not fit',
        'blocks.3.',
        'missing',
    )
