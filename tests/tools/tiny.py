"""A data set and a model so small that a whole evaluation takes a second."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from safetensors.torch import save_file

from sta.engine.config import load_config
from sta.engine.session import build_model
from tests.models.small_vit import randomise

ROOT = Path(__file__).parents[2]
NUM_VIDEOS = 7
NUM_CLASSES = 7
# decord cannot decode widths of 48 and a few others below 64.
HEIGHT, WIDTH = 36, 64
SCHEDULES = (0, 2, 4)
PRUNERS = ('sta', 'random', 'tube-random', 'tome')

TEMPLATE = """\
_base_ = [{root!r} + '/configs/_base_/models/sta_vit.py', {root!r} + '/configs/_base_/runtime.py']
model = dict(
    backbone=dict(img_size=32, patch_size=8, embed_dims=24, depth=3, num_heads=2),
    cls_head=dict(num_classes={classes}, in_channels=24),
)
test_cfg = dict(
    schedules=[0, 2, 4],
    pruners=[
        dict(type='STAPruner'),
        dict(type='RandomPruner'),
        dict(type='TubeRandomPruner'),
        dict(type='ToMeMergePruner'),
    ],
)
test_pipeline = [
    dict(type='OpenVideo'),
{sampling}
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoListDataset',
        ann_file={annotations!r},
        data_prefix=dict(video={videos!r}),
        num_classes={classes},
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
"""

ONE_VIEW = """\
    dict(type='UniformSample', clip_len=16, test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='CenterCrop', crop_size=32),"""

SIX_VIEWS = """\
    dict(type='ProtocolSampleFrames', protocol='videomae_ssv2', num_clips=2),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=32, num_crops=3),"""

TRAINING = """
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoListDataset',
        ann_file={annotations!r},
        data_prefix=dict(video={videos!r}),
        num_classes={classes},
        pipeline=test_pipeline,
    ),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
"""


@dataclass(frozen=True)
class Tiny:
    """Seven videos, their list, configs and a checkpoint, all in one folder.

    Attributes:
        folder: holds everything.
        one_view: config with one view a video.
        six_views: config with two clips and three crops a video.
        training: config that trains for two epochs of three iterations.
        checkpoint: random weights of the model.
        names: the videos in the order of the list.
        labels: their classes.
    """

    folder: Path
    one_view: Path
    six_views: Path
    training: Path
    checkpoint: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]


def make_tiny(folder: Path) -> Tiny:
    """Render the videos and write everything else."""
    labels = tuple((3 * i) % NUM_CLASSES for i in range(NUM_VIDEOS))
    names = tuple(f'clip {i}.mp4' for i in range(NUM_VIDEOS))
    videos, annotations = folder / 'videos', folder / 'list.txt'
    videos.mkdir()
    for i, name in enumerate(names):
        write_video(videos / name, seed=i, num_frames=20 + 3 * i)
    annotations.write_text(''.join(f'{n} {k}\n' for n, k in zip(names, labels, strict=True)))
    facts = dict(
        root=str(ROOT), classes=NUM_CLASSES, annotations=str(annotations), videos=str(videos)
    )
    configs = {
        'one_view': TEMPLATE.format(sampling=ONE_VIEW, **facts),
        'six_views': TEMPLATE.format(sampling=SIX_VIEWS, **facts),
        'training': TEMPLATE.format(sampling=ONE_VIEW, **facts) + TRAINING.format(**facts),
    }
    paths = {name: folder / f'{name}.py' for name in configs}
    for name, text in configs.items():
        paths[name].write_text(text)
    checkpoint = folder / 'weights.safetensors'
    save_weights(paths['one_view'], checkpoint)
    return Tiny(folder, checkpoint=checkpoint, names=names, labels=labels, **paths)


def write_video(path: Path, *, seed: int, num_frames: int) -> None:
    """A picture of 6 x 8 coloured rectangles that drifts to the right, as H.264."""
    picture = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = picture.repeat(6, axis=0).repeat(8, axis=1)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=12)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, 'yuv420p'
        for t in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, (seed + 1) * t, axis=1))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def save_weights(config: Path, path: Path, **backbone: Any) -> None:
    """Random weights, large enough that variants and videos differ in their scores."""
    options = [f'model.backbone.{key}={value}' for key, value in backbone.items()]
    model = randomise(build_model(load_config(str(config), options)))
    save_file({name: value.detach().clone() for name, value in model.named_parameters()}, path)


def child_config(path: Path, parent: Path, text: str) -> Path:
    """A config that inherits from another one."""
    path.write_text(f'_base_ = {str(parent)!r}\n{text}\n')
    return path


def load_tool(name: str) -> ModuleType:
    """A command line of tools/ as a module; tools/ is no package."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(name: str, *arguments: object) -> int:
    """Exit status of a command line, run in this process; argparse's own exits count too."""
    forget_loggers()
    try:
        return load_tool(name).main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def forget_loggers() -> None:
    """Else mmengine, which names them after config and second, writes to those of an earlier run.

    Their streams are those that pytest had put in place then, and are closed.
    """
    for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kind._instance_dict.clear()
