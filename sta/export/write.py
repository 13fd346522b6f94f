"""Write an exported model and its description, both or neither."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sta import __version__
from sta.analysis import count_costs
from sta.atomic import check_folder, write_steadily
from sta.environment import distribution_version
from sta.errors import ExportError
from sta.models.prunable import ClipShape, PrunableRecognizer
from sta.pruning import Variant

from .check import Agreement, batches_for, compare
from .module import Captured, ClipClassifier, normalisation, quietly

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
    clip_shape: ClipShape,
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
        tolerance: see :func:`sta.export.check.compare`.

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
    clip_shape: ClipShape,
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


LIBRARIES = ('torch', 'mmaction2', 'onnx', 'onnxscript', 'onnxruntime')
_RANGES = {
    'normalised': 'float32: (RGB from 0 to 255, less mean) / std',
    'float': 'float32: RGB from 0 to 255; the model normalises',
    'uint8': 'uint8: RGB from 0 to 255; the model normalises',
}
# Of a config that normalises nothing; ClipClassifier takes no other clips of it.
_UNKNOWN = 'float32: RGB as the test pipeline gives it; the config has no mean and std'


def side_facts(
    model: PrunableRecognizer,
    captured: Captured,
    variant: Variant,
    *,
    pixels: str,
    clip_shape: ClipShape,
    classes: Sequence[str] | None,
    made: dict[str, str],
) -> dict[str, Any]:
    """The description as values of JSON.

    Args:
        model: the recognizer.
        captured: its graph.
        variant: what was exported.
        pixels: one of ``INPUTS``.
        clip_shape: (3, frames, H, W).
        classes: names by label, None where they are not known.
        made: command, config and checkpoint.
    """
    cost = count_costs(model, [variant], clip_shape)[0]
    mean, std = normalisation(model)
    with model.backbone.using(variant):
        stages = [dataclasses.asdict(stage) for stage in model.backbone.schedule.stages]
        pruner = type(model.backbone.pruner).__name__
        tokens = model.backbone.tokens_after_stages(clip_shape)
    return {
        'variant': variant.name,
        'pruner': {'type': pruner, **dict(variant.pruner or {})} if stages else None,
        'schedule': stages,
        'tokens_after_stages': tokens,
        'gflops_per_view': cost.gflops_per_view,
        'input': {
            'name': 'clips',
            'shape': [captured.batch_size or 'batch', *clip_shape],
            'axes': 'clips, channels (RGB), frames, rows, columns',
            'values': _UNKNOWN if mean is None else _RANGES[pixels],
            'mean': mean,
            'std': std,
        },
        'output': {
            'name': 'logits',
            'shape': [captured.batch_size or 'batch', model.cls_head.num_classes],
            'values': 'float32, before the softmax; softmax averaged over views scores a video',
        },
        'classes': None if classes is None else list(classes),
        **made,
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'versions': {
            'sta': __version__,
            'python': platform.python_version(),
            **{name: distribution_version(name) for name in LIBRARIES},
        },
    }


# A protobuf file cannot hold more; larger weights go into a file beside it.
MAX_BYTES = 1_900_000_000


def check_onnx(module: ClipClassifier) -> None:
    """Refuse what ONNX cannot hold, and machines without its packages.

    Raises:
        ExportError: says what can be done instead.
    """
    backbone = module.backbone
    if backbone.schedule.active and backbone.pruner.draws:
        raise ExportError(
            f'{type(backbone.pruner).__name__} draws at random from the bits of the pixels, which '
            f'no operator of ONNX reads: use --format pt2, or a pruner that does not draw'
        )
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            f'--format onnx needs {error.name}: pip install onnx onnxruntime onnxscript '
            f'(the extra "export"), or use --format pt2'
        ) from error


def weights_beside(path: Path) -> Path:
    """Where torch puts weights that are too large for an ONNX file."""
    return path.with_name(f'{path.name}.data')


def save_onnx(captured: Captured, path: Path) -> None:
    """Write a graph as ONNX; weights of more than 1.9 GB go into ``path``.data.

    Args:
        captured: the graph.
        path: what to write.

    Raises:
        ExportError: torch cannot translate it.
    """
    program = captured.program
    num_bytes = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    try:
        with quietly():
            torch.onnx.export(
                program,
                (),
                path,
                dynamo=True,
                verbose=False,
                input_names=['clips'],
                output_names=['logits'],
                dynamic_shapes=({0: 'batch'},) if captured.batch_size is None else None,
                external_data=num_bytes > MAX_BYTES,
                custom_translation_table={torch.ops.aten.sort.stable: _stable_sort()},
            )
    except torch.onnx.OnnxExporterError as error:
        lines = [line for line in str(error).splitlines() if 'Failure' in line or 'Error' in line]
        raise ExportError(f'torch cannot translate the model to ONNX: {lines[:1]}') from error


def _stable_sort() -> Callable[..., Any]:
    """aten::sort.stable, which torch does not translate (2.13).

    ONNX' TopK over a whole axis is a stable sort: of equal values the lower index comes first.
    """
    from onnxscript import opset18 as op

    def sort(self: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        index: Any = op.Constant(value_ints=[dim])
        size = op.Gather(op.Shape(self), index, axis=0)
        return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)

    return sort
