"""Write tensors to a file that is either complete or not there, whatever interrupts the writing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sta import __version__
from sta.atomic import replacing, write_steadily

from .errors import CheckpointError


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors; the suffix says how.

    The same tensors give the same bytes: names are sorted, and no time or place is written.

    Args:
        tensors: dense tensors, which may be on any device and may share memory.
        path: .safetensors, or .pth for mmaction2's form, a dict of state_dict and meta that
            weights-only loading reads. A file of that name is replaced.

    Raises:
        CheckpointError: another suffix.
        OSError: it cannot be written, as on a full disk; names the file.
    """
    write = writer_for(path)
    # Copies: safetensors refuses tensors that share memory, and torch would write a whole storage
    # for a view into it.
    own = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    with replacing(path) as temporary:
        write(own, temporary)
        # safetensors creates files for the owner alone; colleagues on a shared disk read them, too.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)


def writer_for(path: Path) -> Callable[[dict[str, Tensor], Path], None]:
    """The function that writes the form a suffix asks for.

    Raises:
        CheckpointError: neither .safetensors nor .pth.
    """
    write = {'.safetensors': _write_safetensors, '.pth': _write_mmaction2}.get(path.suffix)
    if write is None:
        raise CheckpointError(f'weights are written as .safetensors or .pth, got {path}')
    return write


def _write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path, metadata={'format': 'pt'})
    except SafetensorError as error:  # its own name for errors of the system
        number = re.search(r'os error (\d+)', str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _write_mmaction2(tensors: dict[str, Tensor], path: Path) -> None:
    content = {'state_dict': tensors, 'meta': {'sta_version': __version__}}
    # Given a path, torch would write its name into the file.
    write_steadily(path, lambda file: torch.save(content, file))
