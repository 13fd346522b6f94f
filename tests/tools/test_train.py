"""Training: the steps of a plain loop, the recipe of fine-tuning, validation, what cannot start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sta.checkpoints import load_checkpoint, load_encoder
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.report import read_scores
from tests.checkpoints.sources import authors_names
from tests.models.small_vit import clips

from .tiny import ROOT, Tiny, run_tool, save_weights

LAST = 'epoch_2.pth'


def weights_of(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=False)['state_dict']  # our own file


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.fixture(scope='module')
def trained(tiny, tmp_path_factory) -> Path:
    """Folder of an uninterrupted run, with exported weights."""
    folder = tmp_path_factory.mktemp('training') / 'whole'
    exported = folder / 'exported.safetensors'
    assert run_tool('train', tiny.training, '--work-dir', folder, '--export', exported) == 0
    return folder


def test_training_changes_every_weight(trained) -> None:
    before, after = (weights_of(trained / name) for name in ('epoch_1.pth', LAST))
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert same == ['backbone.pos_embed']  # a fixed table


def test_the_same_run_again_gives_the_same_weights(tiny, trained, tmp_path) -> None:
    """Also where it says --resume, and there is nothing to go on with."""
    assert run_tool('train', tiny.training, '--resume', '--work-dir', tmp_path / 'again') == 0
    assert difference(weights_of(tmp_path / 'again' / LAST), weights_of(trained / LAST)) == 0


@pytest.mark.parametrize('way', ['by name', 'the last one'])
def test_a_resumed_run_ends_where_a_whole_one_does(tiny, trained, tmp_path, way) -> None:
    folder = tmp_path / 'resumed'
    if way == 'by name':
        arguments = ('--resume', trained / 'epoch_1.pth')
    else:
        options = ('--cfg-options', 'train_cfg.max_epochs=1')
        assert run_tool('train', tiny.training, '--work-dir', folder, *options) == 0
        assert not (folder / LAST).exists()
        arguments = ('--resume',)
    assert run_tool('train', tiny.training, '--work-dir', folder, *arguments) == 0
    assert difference(weights_of(folder / LAST), weights_of(trained / LAST)) == 0


def test_another_order_of_videos_gives_other_weights(tiny, trained, tmp_path) -> None:
    """Else the tests above would prove little."""
    options = ('--cfg-options', 'randomness.seed=1')
    assert run_tool('train', tiny.training, '--work-dir', tmp_path / 'seed', *options) == 0
    assert difference(weights_of(tmp_path / 'seed' / LAST), weights_of(trained / LAST)) > 1e-3


def make_batch(tiny: Tiny) -> tuple[Tensor, Tensor]:
    """Every video of the list as the pipeline gives it, and its label."""
    config = load_config(str(tiny.training))
    items = list(DATASETS.build(config.train_dataloader.dataset))
    inputs = torch.stack([item['inputs'][0] for item in items]).float()
    mean, std = (torch.tensor(config.model.data_preprocessor[key]) for key in ('mean', 'std'))
    shape = (3, 1, 1, 1)
    return (inputs - mean.view(shape)) / std.view(shape), torch.tensor(tiny.labels)


def test_steps_are_those_of_a_plain_loop(tiny, tmp_path) -> None:
    """All videos in one batch, so that their order does not matter; plain gradient descent."""
    model = build_model(load_config(str(tiny.training)))
    load_checkpoint(model, tiny.checkpoint)
    start = tmp_path / 'start.pth'
    torch.save({'state_dict': model.state_dict()}, start)
    options = [f'load_from={start}', 'train_dataloader.batch_size=7']
    options.append("optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.02}")
    arguments = ('--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert run_tool('train', tiny.training, *arguments) == 0

    inputs, labels = make_batch(tiny)
    model.train()
    for _ in range(2):
        loss = cross_entropy(model.cls_head.fc_cls(model.backbone(inputs)), labels)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.02 * parameter.grad
    assert difference(weights_of(tmp_path / 'run' / LAST), weights_of(start)) > 1e-2
    assert difference(weights_of(tmp_path / 'run' / LAST), model.state_dict()) < 1e-5


def logits_of(model: nn.Module, source: object) -> Tensor:
    load_checkpoint(model, source)
    with torch.no_grad():
        return model.cls_head(model.eval().backbone(clips(4)))


def test_exported_weights_are_the_trained_ones_in_half_precision(tiny, trained) -> None:
    exported = load_file(trained / 'exported.safetensors')
    wanted = weights_of(trained / LAST)
    wanted.pop('backbone.pos_embed')
    assert exported.keys() == wanted.keys()
    assert all(torch.equal(exported[name], wanted[name].half()) for name in wanted)
    model = build_model(load_config(str(tiny.one_view)))
    found = logits_of(model, trained / 'exported.safetensors')
    whole = logits_of(model, trained / LAST)
    assert whole.std() > 0.1
    torch.testing.assert_close(found, whole, atol=1e-2, rtol=0)


def test_exported_weights_evaluate_as_the_checkpoint_does(tiny, trained, tmp_path) -> None:
    found = []
    for name in ('exported.safetensors', LAST):
        arguments = ('--schedules', '0', '4', '--work-dir', tmp_path / name)
        assert run_tool('test', tiny.one_view, trained / name, *arguments) == 0
        found.append(read_scores(tmp_path / name / 'scores.npz').scores)
    assert abs(found[0] - found[1]).max() < 5e-3


def test_training_in_bfloat16(tiny, trained, tmp_path) -> None:
    """Weights stay float32, and go nearly where they go without it."""
    assert run_tool('train', tiny.training, '--amp', 'bf16', '--work-dir', tmp_path / 'half') == 0
    half, whole = weights_of(tmp_path / 'half' / LAST), weights_of(trained / LAST)
    assert {value.dtype for value in half.values()} == {torch.float32}
    start = weights_of(trained / 'epoch_1.pth')
    moved = torch.cat([(whole[n] - start[n]).flatten() for n in whole])
    moved_half = torch.cat([(half[n] - start[n]).flatten() for n in whole])
    assert not torch.equal(moved, moved_half)
    assert torch.cosine_similarity(moved, moved_half, dim=0) > 0.5


def test_the_final_epoch_is_validated(tiny, tmp_path, child, capsys) -> None:
    """Accuracy on the validation list is in the log: here of the training videos themselves."""
    text = (
        'val_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", '
        'shuffle=False), dataset={{_base_.test_dataloader.dataset}})\n'
        'val_cfg = dict(type="ValLoop")\nval_evaluator = dict(type="AccMetric")'
    )
    config, folder = child(text, tiny.training), tmp_path / 'run'
    assert run_tool('train', config, '--work-dir', folder) == 0
    logged = capsys.readouterr().out.split('Epoch(val) [2]')[-1]
    accuracy = float(logged.split('acc/top1: ')[1].split()[0])
    arguments = ('--schedules', '0', '--work-dir', tmp_path / 'test')
    assert run_tool('test', tiny.one_view, folder / LAST, *arguments) == 0
    found = read_scores(tmp_path / 'test' / 'scores.npz')
    assert accuracy == pytest.approx((found.scores[0].argmax(1) == found.labels).mean(), abs=1e-3)


def test_training_starts_from_files_of_any_known_kind(tiny, tmp_path) -> None:
    """mmengine would pass over weights under other names with a warning, and train from noise."""
    model = build_model(load_config(str(tiny.training)))
    load_checkpoint(model, tiny.checkpoint)
    named = authors_names(model.state_dict())
    torch.save({'module': named}, tmp_path / 'authors.pth')
    options = [f'load_from={tmp_path / "authors.pth"}', 'optim_wrapper.optimizer.lr=0.0']
    arguments = ('--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert run_tool('train', tiny.training, *arguments) == 0
    assert difference(weights_of(tmp_path / 'run' / LAST), model.state_dict()) == 0


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
def recipe(tiny, tmp_path) -> Callable[..., Path]:
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


def test_from_an_encoder_with_pruning(recipe, tmp_path, capsys) -> None:
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


def test_wrong_recipes(recipe, refused, tiny) -> None:
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


VALIDATION = """
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="VideoListDataset",
        ann_file={list!r},
        data_prefix=dict(video={videos!r}),
        num_classes=7,
        pipeline={{{{_base_.test_pipeline}}}},
        test_mode=True,
    ),
)
val_cfg = dict(type="SoundVideosValLoop")
val_evaluator = dict(type="AccMetric")
"""


def test_broken_videos_are_left_out_and_counted(tiny, tmp_path, child, capsys) -> None:
    """Two of nine are broken, one batch of two entirely; the accuracy is that of the seven."""
    for i in range(2):
        (tmp_path / f'broken {i}.mp4').write_bytes(b'not a video' * 50)
    lines = [f'{name} {label}' for name, label in zip(tiny.names, tiny.labels, strict=True)]
    broken = [f'{tmp_path}/broken {i}.mp4 0' for i in range(2)]
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join([*lines[:2], *broken, *lines[2:]]) + '\n')
    text = VALIDATION.format(list=str(listed), videos=str(tiny.folder / 'videos'))
    folder = tmp_path / 'run'
    assert run_tool('train', child(text, tiny.training), '--work-dir', folder) == 0
    captured = capsys.readouterr()
    logged = (captured.out + captured.err).split('Epoch(val) [2]')[-1]
    assert '2 validation videos could not be decoded' in captured.out + captured.err
    accuracy = float(logged.split('acc/top1: ')[1].split()[0])
    arguments = ('--schedules', '0', '--work-dir', tmp_path / 'test')
    assert run_tool('test', tiny.one_view, folder / 'epoch_2.pth', *arguments) == 0
    found = read_scores(tmp_path / 'test' / 'scores.npz')
    assert len(found.labels) == 7
    assert accuracy == pytest.approx(np.mean(found.scores[0].argmax(1) == found.labels), abs=1e-3)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--export', 'weights.pth'), ('.safetensors', 'got weights.pth')),
        (('--export', 'weights'), ('.safetensors', 'got weights')),
        (('--export', 'w.safetensors.bak'), ('.safetensors', 'got w.safetensors.bak')),
        (('--export', 'file/w.safetensors'), ('w.safetensors cannot be written: nothing can be',)),
        (('--export', 'folder.safetensors'), ('--export folder.safetensors is a folder',)),
        # Where root may write by its permission bits, and cannot.
        (('--export', '/proc/w.safetensors'), ('--export /proc/w.safetensors cannot be',)),
        (('--resume', 'no.pth'), ('checkpoint no.pth does not exist',)),
        (('--resume', 'text.pth'), ('text.pth',)),
        (('--resume', 'CHECKPOINT'), ('weights.safetensors',)),
        (('--amp', 'fp16'), ('fp16', 'GPU', 'bf16')),
    ],
)
def test_arguments_that_cannot_be(refused, tiny, arguments, said) -> None:
    if arguments[0] == '--amp' and torch.cuda.is_available():
        pytest.skip('there is a GPU')
    for name in ('file', 'text.pth'):
        Path(name).write_text('hello there\n' * 9)
    Path('folder.safetensors').mkdir()
    arguments = [tiny.checkpoint if word == 'CHECKPOINT' else word for word in arguments]
    refused('train', tiny.training, *arguments, said=said)
    # Refused before anything was trained.
    assert arguments[0] == '--resume' or not Path('work_dirs').exists()


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
    ('load_from=other.safetensors', ('other.safetensors does not fit the model', 'unexpected')),
]


@pytest.mark.parametrize(('option', 'said'), OPTIONS)
def test_an_option_that_cannot_be(refused, tiny, option, said) -> None:
    if 'other' in option:
        save_weights(tiny.one_view, Path('other.safetensors'), depth=4)
    refused('train', tiny.training, '--cfg-options', option, said=said)


def test_a_config_that_only_evaluates(refused, tiny) -> None:
    said = (str(tiny.one_view), 'train_cfg, train_dataloader, optim_wrapper', 'configs/train_')
    refused('train', tiny.one_view, said=said)


LATE = 'load_from = "no.pth"\n'  # weights are read last
COUNTED = 'model.cls_head 7: set both'


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ("optim_wrapper = dict(optimizer=dict(lr=float('nan')))", ('child.py', 'lr is NaN')),
        (
            f'{LATE}train_dataloader = dict(dataset=dict(ann_file="nowhere/train.txt"))',
            ('annotation file nowhere/train.txt does not exist',),
        ),
        (f'{LATE}work_dir = "/proc/x"', ('/proc',)),
        (
            'train_dataloader = dict(dataset=dict(data_prefix=dict(video="nowhere")))',
            ('7 of 7 videos', 'nowhere/clip 0.mp4'),
        ),
        (
            'data = dict(ann_file="list.txt", on_broken="error")\n'
            'train_dataloader = dict(batch_size=1, dataset=data)',
            ('damaged.mp4 cannot be used',),
        ),
        (
            'train_dataloader = dict(dataset=dict(num_classes=9))',
            ('dataset has num_classes=9', COUNTED),
        ),
        (
            "blending = dict(type='MixupBlending', num_classes=400)\n"
            'model = dict(data_preprocessor=dict(blending=blending))',
            ('MixupBlending of blending has num_classes=400', 'list.txt', COUNTED),
        ),
        (
            "both = (('Mixup', 7), ('Cutmix', 2))\n"
            "mixing = [dict(type=f'{kind}Blending', num_classes=n) for kind, n in both]\n"
            "blending = dict(type='RandomBatchAugment', augments=mixing)\n"
            'model = dict(data_preprocessor=dict(blending=blending))',
            ('CutmixBlending of blending has num_classes=2', COUNTED),
        ),
    ],
)
def test_a_config_that_cannot_be(refused, tiny, tmp_path, child, text, said) -> None:
    Path('damaged.mp4').write_bytes(b'not a video' * 50)
    Path('list.txt').write_text(f'{tmp_path}/damaged.mp4 0\n')
    refused('train', child(text, tiny.training), said=said)
    assert COUNTED not in said or not Path('work_dirs').exists()
