"""What to type next, and the config that makes it short."""

from __future__ import annotations

import ast
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .class_lookup import plain
from .prepare import Prepared
from .splitting import Split
from .wanted import count

_DATASET = 'test_dataloader.dataset'


def evaluation_command(
    config: str, prepared: Prepared, *, defaults: Mapping[str, str | os.PathLike]
) -> str:
    """The command that evaluates a list, with options for what differs from the config.

    Args:
        config: a shipped one.
        prepared: the list.
        defaults: 'ann_file' and 'videos' of the config.
    """
    here = {
        'ann_file': str(prepared.outputs.list_file),
        'data_prefix.video': str(prepared.folder),
    }
    there = {'ann_file': defaults['ann_file'], 'data_prefix.video': defaults['videos']}
    options = [
        shlex.quote(f'{_DATASET}.{key}={_as_text(value)}')
        for key, value in here.items()
        if os.path.abspath(value) != os.path.abspath(there[key])
    ]
    more = f' --cfg-options {" ".join(options)}' if options else ''
    return f'python tools/test.py {config} CHECKPOINT{more}'


def _as_text(value: str) -> str:
    """Options are read as Python where they can be: a folder called 2024 would be a number."""
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return repr(value)


def config_text(prepared: Prepared, *, base: str, classes: str, part: str | None = None) -> str:
    """A config that evaluates videos of one's own.

    Args:
        prepared: the list.
        base: config it inherits model and views from.
        classes: 'kinetics400', 'ssv2' or a file with the class names.
        part: of the videos, see :class:`Split`; None for all of them.
    """
    outputs = prepared.outputs
    listed = outputs.list_file if part is None else outputs.part_file(part)
    num_classes = len(prepared.annotations.class_names)
    classes = classes if not os.path.isfile(classes) else os.path.abspath(classes)
    return f"""\
# Evaluates videos of one's own; by tools/prepare_custom.py, to be written anew when files move.
#   python tools/test.py {as_argument(outputs.folder / 'config.py')} CHECKPOINT
_base_ = {_quoted(base)}
num_classes = {num_classes}  # here and nowhere else
work_dir = {f'work_dirs/{outputs.folder.resolve().name}'!r}
model = dict(cls_head=dict(num_classes=num_classes))
test_dataloader = dict(
    dataset=dict(
        ann_file={_quoted(listed)},
        data_prefix=dict(video={_quoted(prepared.folder)}),
        num_classes=num_classes,
        classes={classes!r},
    )
)
"""


@dataclass(frozen=True)
class Recipe:
    """How videos of one's own are trained on.

    Attributes:
        schedule: config with optimizer, warm-up and loops.
        pretrained: the encoder that training starts from; None starts from random weights.
        clip_len, size: frames and side of the clips that the model takes.
        stride: frames from one frame of a clip to the next; None spreads them over the video.
        flip_ratio: share of mirrored clips.
        layers: blocks of a ViT, for lower rates in lower layers; None gives all the same.
        max_epochs, batch_size, num_workers: of the training.
    """

    schedule: str
    pretrained: str | None
    clip_len: int
    size: int
    stride: int | None
    flip_ratio: float
    layers: int | None
    max_epochs: int
    batch_size: int
    num_workers: int

    @property
    def every(self) -> int:
        """Epochs from one checkpoint and validation to the next: about ten in all."""
        return max(1, self.max_epochs // 10)


def epochs_for(num_videos: int, batch_size: int) -> int:
    """Epochs for about 450 steps in all, but 20 at least and 100 at most."""
    steps = -(-num_videos // batch_size)
    return min(100, max(20, round(450 / steps / 10) * 10))


def train_config_text(prepared: Prepared, split: Split, recipe: Recipe) -> str:
    """A config that trains on videos of one's own; it inherits from that of config_text.

    Args:
        prepared: the list.
        split: with videos to train on.
        recipe: how.
    """
    outputs, loading = prepared.outputs, f'num_workers={recipe.num_workers}'
    loading += ', persistent_workers=True' if recipe.num_workers else ''
    start = recipe.pretrained and os.path.abspath(recipe.pretrained)
    other = split.watched != split.evaluated
    watched = f', ann_file={_quoted(outputs.part_file(split.watched))}' if other else ''
    decay = f"dict(decay_type='layer_wise', decay_rate=0.75, num_layers={recipe.layers})"
    slower = (
        f"optim_wrapper = dict(constructor='LearningRateDecayOptimizerConstructor', "
        f'paramwise_cfg={decay})\n'
    )
    clip = f'clip_len={recipe.clip_len}, size={recipe.size}, stride={recipe.stride}'
    listed = f'videos, ann_file={_quoted(outputs.part_file("train"))}'
    num_videos = count(len(split.parts['train']), 'video')
    kinds = "('Mixup', 'Cutmix')"
    return f"""\
# Trains on {num_videos}; by tools/prepare_custom.py, explained in docs/own_videos.md.
#   python tools/train.py {as_argument(outputs.folder / 'train_config.py')}
_base_ = ['config.py', {_quoted(recipe.schedule)}]
pretrained = {start!r}
videos = _base_.test_dataloader.dataset  # with their folder, number of classes and names
clip = dict(type='TrainingClip', {clip}, flip_ratio={recipe.flip_ratio})
train_dataloader = dict(
    batch_size={recipe.batch_size}, drop_last=False, {loading},
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict({listed}, pipeline=[clip], test_mode=False),
)
watched = dict(videos, pipeline=[dict(clip, augment=False)]{watched})
val_dataloader = dict(_base_.test_dataloader, dataset=watched)
mixing = [dict(type=f'{{kind}}Blending', num_classes=_base_.num_classes) for kind in {kinds}]
model = dict(data_preprocessor=dict(blending=dict(type='RandomBatchAugment', augments=mixing)))
train_cfg = dict(max_epochs={recipe.max_epochs}, val_interval={recipe.every})
default_hooks = dict(checkpoint=dict(interval={recipe.every}))
{slower if recipe.layers else ''}"""


def names_sides(class_names: Sequence[str]) -> bool:
    """Whether names of classes tell left from right: a mirrored clip would be of another class."""
    words = {word for name in class_names for word in plain(name).split()}
    return not words.isdisjoint(('left', 'right', 'clockwise', 'counterclockwise', 'anticlockwise'))


def _quoted(path: str | os.PathLike) -> str:
    """An absolute path as Python text."""
    return repr(os.path.abspath(path))


def class_list(prepared: Prepared) -> str:
    """Class names, one a line."""
    return ''.join(f'{name}\n' for name in prepared.annotations.class_names)


def as_argument(path: Path) -> str:
    """A path as it is typed in a shell."""
    return shlex.quote(str(path))
