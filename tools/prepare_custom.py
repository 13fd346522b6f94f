"""Make lists and configs to train and evaluate on videos of your own (docs/own_videos.md).

python tools/prepare_custom.py FOLDER_OF_CLASS_FOLDERS --out data/mine
python tools/prepare_custom.py labels.csv --out data/mine --pretrained ENCODER
python tools/prepare_custom.py FOLDER_OF_CLASS_FOLDERS --out data/mine --map kinetics400
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.datasets.annotations import OFFICIAL
from sta.datasets.preparation import add_options, num_cores
from sta.datasets.preparation.splitting import ORDERS, Split, SplitSettings
from sta.start import find_path, hosts_needed, tool_parser

BATCH_SIZE = 8


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('source', metavar='FOLDER_OR_CSV', help='class folders, or path,label')
    parser.add_argument(
        '--videos', metavar='FOLDER', help='what paths of a csv are relative to; default: its own'
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument('--classes', metavar='FILE', help='class names by label, one a line')
    names.add_argument(
        '--map', choices=OFFICIAL, help='use the labels of this data set for classes of its names'
    )
    parser.add_argument(
        '--config',
        type=find_path,
        help='whose model and views to use; default: configs/sta_vit_small.py, with --map that of '
        'ViT-B on the data set',
    )
    parser.add_argument(
        '--pretrained',
        type=find_path,
        metavar='FILE',
        help='train from this encoder, e.g. of VideoMAE; default: from random weights',
    )
    splitting = parser.add_argument_group(
        'which videos are trained on, where neither folders nor a column of the csv say so'
    )
    splitting.add_argument(
        '--val-share',
        type=float,
        metavar='SHARE',
        help='of every class that is evaluated and not trained on; default 0.2, with --map 1: all '
        'are evaluated and none is trained on',
    )
    splitting.add_argument(
        '--split',
        choices=ORDERS,
        default='random',
        help='drawn, or the last by name (clip 9 before clip 10); default %(default)s',
    )
    splitting.add_argument('--seed', type=int, default=0, help='of the draw; default %(default)s')
    splitting.add_argument(
        '--group-by',
        metavar='REGEX',
        help='videos in whose path it finds the same stay together, e.g. _g(\\d+)_',
    )
    add_options(parser, out=None)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from mmengine.config import Config

    from sta.atomic import write_text
    from sta.checkpoints import load_encoder
    from sta.datasets.annotations import ClassLookup, list_text, read_class_names
    from sta.datasets.preparation.matching import Annotations, FolderIndex
    from sta.datasets.preparation.prepare import (
        Outputs,
        Prepared,
        Recipe,
        as_argument,
        config_text,
        describe,
        epochs_for,
        names_sides,
        prepare,
        settings_of,
        train_config_text,
    )
    from sta.datasets.preparation.readers import (
        read_class_folders,
        read_labelled_files,
        split_and_groups,
    )
    from sta.datasets.preparation.splitting import given_split, made_split
    from sta.engine.cli import run_command
    from sta.engine.config import load_config
    from sta.engine.session import build_model_of_shapes
    from sta.engine.training import SCHEDULE_KEYS
    from sta.errors import ConfigError, DataError


def read(arguments: argparse.Namespace) -> tuple[Annotations, FolderIndex]:
    source = arguments.source
    names = arguments.map or arguments.classes
    classes = ClassLookup(read_class_names(names), names) if names else None
    if not os.path.isdir(source):
        folder = arguments.videos or os.path.dirname(source) or os.curdir
        annotations = read_labelled_files(source, classes)
        # Without --videos it may be a home folder, with more in it than anyone would look at.
        return annotations, FolderIndex(folder, look=arguments.videos is not None)
    if arguments.videos is not None:
        raise DataError(f'--videos goes with a csv; {source} is a folder, whose videos are taken')
    index = FolderIndex(source)
    return read_class_folders(index, classes), index


def run(arguments: argparse.Namespace) -> None:
    settings = settings_of(arguments)
    share = arguments.val_share
    if share is None:
        share = 1 if arguments.map else 0.2
    splitting = SplitSettings(share, arguments.split, arguments.seed, arguments.group_by)
    lists = [f'{part}_list_videos.txt' for part in ('train', 'val', 'test')]
    outputs = Outputs(arguments.out, more=('classes.txt', 'config.py', 'train_config.py', *lists))
    outputs.refuse_loss(force=arguments.force)
    base = arguments.config or default_config(arguments.map)
    config = checked_config(base)
    annotations, index = read(arguments)
    if any(video.split for video in annotations.wanted):
        refuse_second_split(arguments)
    trains = any(video.split == 'train' for video in annotations.wanted) or (
        share < 1 and not any(video.split for video in annotations.wanted)
    )
    if trains:
        check_recipe(config, base, arguments.pretrained)
    elif arguments.pretrained is not None:
        raise DataError(f'--pretrained {arguments.pretrained}: no video is set apart to train on')
    if splitting.group_by is not None:
        for video in annotations.wanted:
            splitting.group_of(video.path)
    prepared = prepare(annotations, index, outputs, settings)
    split = split_of(prepared, index, splitting)
    write(prepared, split, config, base, arguments)


def default_config(mapped: str | None) -> str:
    name = {None: 'sta_vit_small', 'kinetics400': 'sta_vit_k400', 'ssv2': 'sta_vit_ssv2'}[mapped]
    return find_path(f'configs/{name}.py')


def checked_config(path: str) -> Config:
    config = load_config(path)
    if 'test_dataloader' not in config or 'cls_head' not in config.get('model', {}):
        raise ConfigError(f'--config {path} defines no model or no test_dataloader')
    return config


def refuse_second_split(arguments: argparse.Namespace) -> None:
    """A split that comes with the videos and one that is asked for contradict each other."""
    asked = {
        '--val-share': arguments.val_share is not None,
        '--split': arguments.split != 'random',
        '--group-by': arguments.group_by is not None,
    }
    for option, given in asked.items():
        if given:
            raise DataError(f'{option}: {arguments.source} says itself which videos are trained on')


def check_recipe(config: Config, path: str, pretrained: str | None) -> None:
    """What the training will need is looked at before the videos are."""
    for key in SCHEDULE_KEYS:
        if key in config:
            raise ConfigError(
                f'--config {path} defines {key}: give the config that it evaluates with, or '
                f'--val-share 1 to train on nothing'
            )
    if pretrained is not None:
        load_encoder(build_model_of_shapes(config), pretrained)


def split_of(prepared: Prepared, index: FolderIndex, settings: SplitSettings) -> Split:
    splits, groups = split_and_groups(prepared.annotations, index)
    facts = dict(class_names=prepared.annotations.class_names, folder=index.folder, groups=groups)
    if splits:
        return given_split(prepared.listed, splits, **facts)
    return made_split(prepared.listed, settings, **facts)


def write(
    prepared: Prepared, split: Split, config: Config, base: str, arguments: argparse.Namespace
) -> None:
    """Write lists and configs, and say so."""
    outputs, divided = prepared.outputs, set(split.parts) != {'val'}
    classes, tested = outputs.folder / 'classes.txt', outputs.folder / 'config.py'
    trained = outputs.folder / 'train_config.py'
    for name in ('train', 'val', 'test'):  # of an earlier run
        outputs.part_file(name).unlink(missing_ok=True)
    trained.unlink(missing_ok=True)
    parts = split.parts if divided else {}
    for name, videos in parts.items():
        write_text(outputs.part_file(name), list_text(videos))
    names = prepared.annotations.class_names
    write_text(classes, ''.join(f'{name}\n' for name in names))
    part = split.evaluated if divided else None
    text = config_text(prepared, base=base, classes=arguments.map or str(classes), part=part)
    write_text(tested, text)
    print('\n'.join([*describe(prepared), *split.notes]))
    if parts:
        print(f'wrote {" and ".join(str(outputs.part_file(name)) for name in parts)}')
    print_crop(prepared, config, base)
    written = [tested]
    if 'train' in split.parts:
        recipe = recipe_for(config, len(split.parts['train']), prepared, arguments.pretrained)
        write_text(trained, train_config_text(prepared, split, recipe))
        written = [trained, tested]
        if not recipe.flip_ratio:
            print('clips are not mirrored: names of classes tell left from right (flip_ratio)')
    print(f'wrote {classes} and {" and ".join(map(str, written))}')
    print_next(prepared, split, arguments.map, written)


def print_crop(prepared: Prepared, config: Config, base: str) -> None:
    """Views that were made for videos of one small size show little of others."""
    steps = {step.get('type'): step for step in config.test_dataloader.dataset.pipeline}
    crop = steps.get('CenterCrop', {}).get('crop_size')
    sizes = [(video.width, video.height) for video in prepared.scan.videos.values()]
    largest = max(sizes, key=min, default=(0, 0))
    if isinstance(crop, int) and 'Resize' not in steps and min(largest) > 2 * crop:
        print(
            f'warning: the views of {base} show {crop} x {crop} pixels of frames as they are, of '
            f'{largest[0]} x {largest[1]} here; those of configs/sta_vit_small.py are resized'
        )


def print_next(prepared: Prepared, split: Split, mapped: str | None, written: list[Path]) -> None:
    checkpoint = 'CHECKPOINT'
    if 'train' in split.parts:
        config = load_config(str(written[0]))
        checkpoint = f'{config.work_dir}/epoch_{config.train_cfg.max_epochs}.pth'
        print(f'next: python tools/train.py {as_argument(written[0])}')
    else:
        print(checkpoint_needed(prepared, mapped))
    print(f'next: python tools/test.py {as_argument(written[-1])} {as_argument(Path(checkpoint))}')


def recipe_for(
    config: Config, num_videos: int, prepared: Prepared, pretrained: str | None
) -> Recipe:
    """How to train the model of a config on so many videos."""
    backbone = build_model_of_shapes(config).backbone
    steps = [s for s in config.test_dataloader.dataset.pipeline if s.get('type') != 'OpenVideo']
    strides = [step.get('stride') or step.get('frame_interval') for step in steps]
    batch_size = min(BATCH_SIZE, num_videos)
    return Recipe(
        schedule=find_path('configs/_base_/schedules/own_videos.py'),
        pretrained=pretrained,
        clip_len=backbone.num_frames,
        size=backbone.img_size,
        stride=next(filter(None, strides), None),
        flip_ratio=0.0 if names_sides(prepared.annotations.class_names) else 0.5,
        layers=backbone.decay_layers if pretrained else None,
        max_epochs=epochs_for(num_videos, batch_size),
        batch_size=batch_size,
        num_workers=min(4, num_cores()),
    )


def checkpoint_needed(prepared: Prepared, mapped: str | None) -> str:
    """Which checkpoints can be evaluated on the list."""
    names = prepared.annotations.class_names
    used = {label for _, label in prepared.listed}
    if mapped:
        return (
            f'any checkpoint with the {len(names)} classes of {mapped} can be evaluated: '
            f'{len(used)} of them occur, and all {len(names)} compete'
        )
    text = f'a checkpoint with these {len(names)} classes is needed (configs/train_*.py)'
    for official in OFFICIAL:
        lookup = ClassLookup(read_class_names(official), official)
        if all(lookup.find(name) is not None for name in names):
            text += f'; all names are of {official}: --map {official} needs no training'
    return text


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return run_command(lambda: run(arguments))


if __name__ == '__main__':
    sys.exit(main())
