"""Write weights as safetensors, which hold nothing but tensors."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from .errors import CheckpointError
from .writer import write_tensors


def export_weights(
    model: nn.Module, path: str | os.PathLike, dtype: torch.dtype = torch.float16
) -> str:
    """Save a model's parameters under their own names; fixed tables (buffers) are left out.

    Args:
        model: any module.
        path: .safetensors file; written whole or not at all.
        dtype: of floating-point parameters.

    Raises:
        CheckpointError: another suffix, or a weight that is not finite in this dtype.

    Returns:
        One line saying what was written.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise CheckpointError(f'weights are exported as .safetensors, got {path}')
    for name, parameter in model.named_parameters():
        if not bool(parameter.detach().to(dtype).isfinite().all()):
            raise CheckpointError(f'{name} does not fit into {str(dtype)[6:]}: NaN or infinity')
    tensors = {name: parameter.detach().to(dtype) for name, parameter in model.named_parameters()}
    write_tensors(tensors, path)
    size_mb = path.stat().st_size / 1e6
    return f'wrote {len(tensors)} tensors as {str(dtype)[6:]} to {path} ({size_mb:.1f} MB)'
