"""What to type next, and the config that makes it short."""

from __future__ import annotations

import ast
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from .prepare import Prepared

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


def config_text(prepared: Prepared, *, base: str, classes: str) -> str:
    """A config for videos of one's own.

    Args:
        prepared: the list.
        base: config it inherits model and views from.
        classes: 'kinetics400', 'ssv2' or a file with the class names.
    """
    num_classes = len(prepared.annotations.class_names)
    file = prepared.outputs.folder / 'config.py'
    classes = classes if not os.path.isfile(classes) else os.path.abspath(classes)
    return f"""\
# {len(prepared.listed)} videos, by tools/prepare_custom.py; to be written anew when files move.
#   python tools/test.py {file} CHECKPOINT
_base_ = {os.path.abspath(base)!r}
model = dict(cls_head=dict(num_classes={num_classes}))
test_dataloader = dict(
    dataset=dict(
        ann_file={os.path.abspath(prepared.outputs.list_file)!r},
        data_prefix=dict(video={os.path.abspath(prepared.folder)!r}),
        num_classes={num_classes},
        classes={classes!r},
    )
)
"""


def class_list(prepared: Prepared) -> str:
    """Class names, one a line."""
    return ''.join(f'{name}\n' for name in prepared.annotations.class_names)


def as_argument(path: Path) -> str:
    """A path as it is typed in a shell."""
    return shlex.quote(str(path))
