"""Training that cannot start ends with one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from .tiny import Tiny

Refused = Callable[..., str]


def test_a_config_that_only_evaluates(refused: Refused, tiny: Tiny) -> None:
    said = (str(tiny.one_view), 'train_cfg, train_dataloader, optim_wrapper', 'configs/train_')
    refused('train', tiny.one_view, said=said)


def test_a_missing_training_list(refused: Refused, tiny: Tiny, child: Callable[..., Path]) -> None:
    text = 'train_dataloader = dict(dataset=dict(ann_file="nowhere/train.txt"))'
    said = ('annotation file nowhere/train.txt does not exist',)
    refused('train', child(text, tiny.training), said=said)


def test_missing_training_videos(refused: Refused, tiny: Tiny, child: Callable[..., Path]) -> None:
    text = 'train_dataloader = dict(dataset=dict(data_prefix=dict(video="nowhere")))'
    said = ('7 of 7 videos', 'nowhere/clip 0.mp4')
    refused('train', child(text, tiny.training), said=said)


def test_a_damaged_training_video(
    refused: Refused, tiny: Tiny, tmp_path: Path, child: Callable[..., Path]
) -> None:
    wrong, listed = tmp_path / 'damaged.mp4', tmp_path / 'list.txt'
    wrong.write_bytes(b'not a video' * 50)
    listed.write_text(f'{wrong} 0\n')
    data = f'ann_file={str(listed)!r}, on_broken="error"'
    text = f'train_dataloader = dict(batch_size=1, dataset=dict({data}))'
    refused('train', child(text, tiny.training), said=(f'video {wrong} cannot be used',))


@pytest.mark.parametrize('name', ['weights.pth', 'weights', 'weights.safetensors.bak'])
def test_an_export_of_another_kind(refused: Refused, tiny: Tiny, tmp_path: Path, name: str) -> None:
    refused('train', tiny.training, '--export', name, said=('.safetensors', f'got {name}'))
    assert not (tmp_path / 'work_dirs').exists()  # refused before anything was trained


def test_an_export_that_cannot_be_written(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    said = '--export file/w.safetensors cannot be written: nothing can be made in '
    refused('train', tiny.training, '--export', 'file/w.safetensors', said=(said, '/file (Not a'))
    (tmp_path / 'w.safetensors').mkdir()
    said = '--export w.safetensors is a folder'
    refused('train', tiny.training, '--export', 'w.safetensors', said=(said,))
    if Path('/proc').is_dir():  # where root may write by its permission bits, and cannot
        name = '/proc/w.safetensors'
        refused('train', tiny.training, '--export', name, said=(f'--export {name} cannot be',))
    assert not (tmp_path / 'work_dirs').exists()


def test_resuming_from_a_missing_checkpoint(refused: Refused, tiny: Tiny) -> None:
    refused(
        'train', tiny.training, '--resume', 'no.pth', said=('checkpoint no.pth does not exist',)
    )


def test_resuming_from_what_is_no_checkpoint(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / 'text.pth').write_text('hello there\n' * 9)
    refused('train', tiny.training, '--resume', 'text.pth', said=('text.pth',))


def test_resuming_from_weights_alone(refused: Refused, tiny: Tiny) -> None:
    refused('train', tiny.training, '--resume', tiny.checkpoint, said=(str(tiny.checkpoint),))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_half_precision_needs_a_gpu(refused: Refused, tiny: Tiny) -> None:
    refused('train', tiny.training, '--amp', 'fp16', said=('fp16', 'GPU', 'bf16'))


OPTIONS = [
    ('optim_wrapper.optimizer.type=AdamX', ("no optimizer 'AdamX'",)),
    ('optim_wrapper.optimizer.lr=abc', ('optimizer.lr must be a number', "'abc'")),
    ('optim_wrapper.optimizer.lr=nan', ('optimizer.lr=nan', 'no value of a setting')),
    ('optim_wrapper.optimizer.lr=-inf', ('-inf is no value of a setting',)),
    ('optim_wrapper.optimizer.lr=1e999', ('optimizer.lr must be a number', 'inf')),
    ('optim_wrapper.optimizer.lr=-0.1', ('optimizer.lr', 'at least 0', '-0.1')),
    ('optim_wrapper.optimizer.weight_decay=-1', ('weight_decay', 'at least 0', '-1')),
    ('train_cfg.max_epochs=0', ('train_cfg.max_epochs', 'at least 1, got 0')),
    ('train_cfg.max_epochs=2.5', ('train_cfg.max_epochs', 'whole number', '2.5')),
    ('log_processor=dict(window_size=0)', ('log_processor.window_size', 'at least 1, got 0')),
    ('optim_wrapper.accumulative_counts=0', ('optim_wrapper.accumulative_counts', 'got 0')),
    ('randomness=dict(seed=-1)', ('randomness.seed', '0 to 4294967295', 'got -1')),
    ('randomness=dict(seed="a")', ('randomness.seed', '0 to 4294967295', "got 'a'")),
    ('train_cfg.val_interval=0', ('train_cfg.val_interval', 'got 0')),
    ('train_dataloader.batch_size=2.5', ('train_dataloader.batch_size', '2.5')),
    ('auto_scale_lr=dict(enable=True, base_batch_size=0)', ('base_batch_size', 'got 0')),
    ('param_scheduler=[dict(type="X")]', ('cannot be trained', "'X is not in")),
    ('load_from=5', ('load_from must be the path of a checkpoint, got 5',)),
    ('default_hooks.checkpoint.interval=a', ('checkpoint.interval', "got 'a'")),
    ('default_scope=5', ('default_scope must be a name, got 5',)),
    ('train_cfg.max_itrs=3', ("'max_itrs'",)),
    ('train_dataloader.batch_size=0', ('batch_size', '0')),
    ('train_dataloader.batch_size=100', ('100', '7')),
    ('train_dataloader.dataset.pipeline.0.type=OpenVido', ('OpenVido',)),
    ('load_from=no.pth', ('no.pth',)),
]


def test_nan_in_a_config_is_named(refused: Refused, tiny: Tiny, child: Callable[..., Path]) -> None:
    text = "optim_wrapper = dict(optimizer=dict(lr=float('nan')))"
    refused('train', child(text, tiny.training), said=('child.py', 'lr is NaN'))


def test_weights_are_read_last(refused: Refused, tiny: Tiny, child: Callable[..., Path]) -> None:
    text = 'load_from = "no.pth"\ntrain_dataloader = dict(dataset=dict(ann_file="no.txt"))'
    refused('train', child(text, tiny.training), said=('annotation file no.txt',))
    text = 'load_from = "no.pth"'
    refused('train', child(text, tiny.training), '--work-dir', '/proc/x', said=('/proc',))


@pytest.mark.parametrize(('option', 'said'), OPTIONS)
def test_an_option_that_cannot_be(
    refused: Refused, tiny: Tiny, option: str, said: tuple[str, ...]
) -> None:
    refused('train', tiny.training, '--cfg-options', option, said=said)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('train_dataloader = dict(dataset=dict(num_classes=9))', ('dataset has num_classes=9',)),
        (
            "blending = dict(type='MixupBlending', num_classes=400)\n"
            'model = dict(data_preprocessor=dict(blending=blending))',
            ('MixupBlending of blending has num_classes=400', 'list.txt'),
        ),
        (
            "both = (('Mixup', 7), ('Cutmix', 2))\n"
            "mixing = [dict(type=f'{kind}Blending', num_classes=n) for kind, n in both]\n"
            "blending = dict(type='RandomBatchAugment', augments=mixing)\n"
            'model = dict(data_preprocessor=dict(blending=blending))',
            ('CutmixBlending of blending has num_classes=2',),
        ),
    ],
)
def test_classes_that_are_not_counted_alike(
    refused: Refused, tiny: Tiny, child: Callable[..., Path], text: str, said: tuple[str, ...]
) -> None:
    refused('train', child(text, tiny.training), said=(*said, 'model.cls_head 7: set both'))
    assert not Path('work_dirs').exists()
