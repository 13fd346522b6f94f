"""Make a list and a config of videos of your own (docs/data.md).

python tools/prepare_custom.py FOLDER_OF_CLASS_FOLDERS --out data/mine --map kinetics400
python tools/prepare_custom.py labels.csv --out data/mine
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.datasets.class_names import OFFICIAL
from sta.start import find_path, hosts_needed, tool_parser

with hosts_needed():
    from sta.datasets.preparation.options import add_options, settings_of


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
        default='configs/sta_vit_k400.py',
        help='whose model and views to use; default %(default)s',
    )
    add_options(parser, out=None)
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.datasets.class_names import read_class_names
    from sta.datasets.errors import DataError
    from sta.datasets.preparation.class_lookup import ClassLookup
    from sta.datasets.preparation.evaluation_command import as_argument, class_list, config_text
    from sta.datasets.preparation.folder_index import FolderIndex
    from sta.datasets.preparation.outputs import Outputs, write_whole
    from sta.datasets.preparation.own_videos import read_class_folders, read_labelled_files
    from sta.datasets.preparation.prepare import Prepared, prepare
    from sta.datasets.preparation.summary import describe
    from sta.datasets.preparation.wanted import Annotations
    from sta.engine.command_line import run_command
    from sta.engine.config import ConfigError, load_config


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
    outputs = Outputs(arguments.out, more=('classes.txt', 'config.py'))
    outputs.refuse_loss(force=settings.force)
    config = load_config(arguments.config)
    if 'test_dataloader' not in config or 'cls_head' not in config.get('model', {}):
        raise ConfigError(f'--config {arguments.config} defines no model or no test_dataloader')
    annotations, index = read(arguments)
    prepared = prepare(annotations, index, outputs, settings)
    classes, written = outputs.folder / 'classes.txt', outputs.folder / 'config.py'
    write_whole(classes, class_list(prepared))
    text = config_text(prepared, base=arguments.config, classes=arguments.map or str(classes))
    write_whole(written, text)
    print('\n'.join(describe(prepared)))
    print(f'wrote {classes} and {written}')
    print(checkpoint_needed(prepared, arguments.map))
    print(f'next: python tools/test.py {as_argument(written)} CHECKPOINT')


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
