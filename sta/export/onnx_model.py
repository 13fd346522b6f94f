"""From a traced graph to ONNX, with what torch's own translation lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .classifier import ClipClassifier, ExportError
from .program import Captured, quietly

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
        size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]), axis=0)
        return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)

    return sort
