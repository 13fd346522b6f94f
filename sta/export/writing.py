"""Write an exported model and its description, both or neither."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sta.atomic import check_folder, write_steadily

from .checking import Agreement, batches_for, compare
from .classifier import ClipClassifier, ExportError
from .onnx_model import check_onnx, save_onnx, weights_beside
from .program import Captured, quietly

FORMATS = ('onnx', 'pt2')


class Exported(NamedTuple):
    """What was written.

    Attributes:
        paths: the model, what else it needs, and its description last.
        agreement: of the file with the eager model.
    """

    paths: list[Path]
    agreement: Agreement


def description_of(path: Path) -> Path:
    """Where the description of an exported model lies."""
    return path.with_name(f'{path.name}.json')


def check_target(path: Path, file_format: str) -> None:
    """Refuse to write over anything, where nothing can be written, and under misleading names.

    Raises:
        ExportError: names the file.
    """
    if path.suffix != f'.{file_format}':
        raise ExportError(f'{path} must end in .{file_format} to be of that format')
    beside = [weights_beside(path)] if file_format == 'onnx' else []
    for existing in (path, *beside, description_of(path)):
        if os.path.lexists(existing):
            raise ExportError(f'{existing} exists already: remove it, or choose another name')
    try:
        check_folder(path.parent)
    except OSError as error:
        raise ExportError(
            f'{path} cannot be written: nothing can be made in {error.filename} ({error.strerror})'
        ) from None


def check_format(module: ClipClassifier, file_format: str) -> None:
    """Refuse a model that a format cannot hold, before the slow part.

    Raises:
        ExportError: says why and what can.
    """
    if file_format == 'onnx':
        check_onnx(module)


def write_export(
    module: ClipClassifier,
    captured: Captured,
    path: Path,
    *,
    clip_shape: tuple[int, ...],
    facts: Mapping[str, Any],
    tolerance: float = 1e-4,
) -> Exported:
    """Write, load in a fresh process, compare with the eager model; keep all of it or nothing.

    Args:
        module: what was captured.
        captured: its graph.
        path: to write, .onnx or .pt2; the description goes to the same name with .json behind it.
        clip_shape: (3, frames, H, W).
        facts: of the description.
        tolerance: see :func:`sta.export.checking.compare`.

    Raises:
        ExportError: it exists already, cannot be written or run, or computes something else.
        OSError: the disk is full, or the folder has gone.
    """
    check_target(path, path.suffix[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent / f'.{path.name}.{os.getpid()}.part'
    folder.mkdir()
    try:
        return _write_into(folder, module, captured, path, clip_shape, facts, tolerance)
    except OSError as error:
        if error.errno is None:  # no error of the system
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_into(
    folder: Path,
    module: ClipClassifier,
    captured: Captured,
    path: Path,
    clip_shape: tuple[int, ...],
    facts: Mapping[str, Any],
    tolerance: float,
) -> Exported:
    """Write and check in a folder of its own, whose files then get their names."""
    if path.suffix == '.onnx':
        save_onnx(captured, folder / path.name)
    else:
        with quietly():
            write_steadily(folder / path.name, partial(torch.export.save, captured.program))
    batches = batches_for(module, captured.batch_size, clip_shape)
    agreement = compare(module, folder / path.name, batches, tolerance)
    text = json.dumps({**facts, 'verified': agreement._asdict()}, indent=2) + '\n'
    description_of(folder / path.name).write_text(text, encoding='utf-8')
    # Weights that lie beside the model come first, the description last: it stands for all.
    last = (path.name, description_of(path).name)
    names = [file.name for file in folder.iterdir() if file.name not in last]
    for name in (*names, *last):
        os.replace(folder / name, path.parent / name)
    return Exported([path.parent / name for name in (path.name, *names, last[1])], agreement)
