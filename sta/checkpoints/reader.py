"""Read weights out of a file from a stranger without running any code it may hold."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

CONTAINERS = ('state_dict', 'model', 'module', 'model_state_dict')
# What training frameworks store beside the weights. None of it is needed, so each name is read as
# an inert stand-in: not even the real class is touched.
DISCARDED_GLOBALS = (
    'argparse.Namespace',
    'builtins.getattr',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'numpy.core.multiarray.scalar',
    'numpy._core.multiarray.scalar',
    'numpy.core.multiarray._reconstruct',
    'numpy._core.multiarray._reconstruct',
    'numpy.ndarray',
    'numpy.dtype',
    'numpy.dtypes.Float64DType',
    'numpy.dtypes.Float32DType',
    'numpy.dtypes.Int64DType',
    'numpy.dtypes.Int32DType',
    'numpy.dtypes.BoolDType',
    'pathlib.PosixPath',
    'pathlib.PurePosixPath',
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what is wrong and what would fit."""


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read named tensors from .safetensors or a torch file of any common container.

    Args:
        path: a file; torch files may nest the weights under state_dict, model, module or
            model_state_dict.

    Returns:
        Names as in the file, tensors on the CPU.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one that asks to run code.
    """
    path = Path(path)
    if not path.is_file():
        what = 'is a folder, not a file' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'checkpoint {path} {what}')
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        with _inert_stand_ins():
            content = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from None
    except Exception as error:  # a damaged file can fail anywhere inside torch's reader
        raise CheckpointError(_refusal(path, error)) from None
    return find_tensors(content, str(path))


def find_tensors(content: Any, where: str) -> dict[str, Tensor]:
    """Unwrap containers until a mapping of tensors appears.

    Raises:
        CheckpointError: there is none.
    """
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        inner = next((content[k] for k in CONTAINERS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
            if tensors and all(isinstance(name, str) for name in tensors):
                return tensors
            break
        content = inner
    held = f'a dict of {sorted(map(str, content))[:6]}' if isinstance(content, Mapping) else ''
    raise CheckpointError(
        f'{where} holds no weights but {held or type(content).__name__}: expected named tensors, '
        f'or a dict with one of {list(CONTAINERS)}'
    )


class _Discarded:
    """Stands in for anything stored beside the weights; accepts and forgets all of it."""

    def __new__(cls, *_: Any) -> _Discarded:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        return

    def __setstate__(self, _: Any) -> None:
        return


def _stand_in(qualified_name: str) -> type:
    module, name = qualified_name.rsplit('.', 1)
    # torch looks allowed names up by __module__ and __name__ in every release that has a list.
    return type(name, (_Discarded,), {'__module__': module, '__qualname__': name})


@contextmanager
def _inert_stand_ins() -> Iterator[None]:
    """Let weights_only loading pass over the known non-weights. torch >= 2.4 has such a list."""
    before = getattr(torch.serialization, 'get_safe_globals', list)()
    if not hasattr(torch.serialization, 'add_safe_globals'):
        yield
        return
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([_stand_in(name) for name in DISCARDED_GLOBALS])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _refusal(path: Path, error: Exception) -> str:
    """Why a file was not read, in one line and without torch's advice to switch protection off."""
    text = ' '.join(str(error).split())
    asked = re.search(r'(?:Unsupported global: GLOBAL|unsupported GLOBAL) ([\w.]+)', text)
    if asked:
        return (
            f'{path} was refused: it asks to call {asked[1]} while being read. Only tensors are '
            f'loaded from checkpoints; save the plain state_dict, best as .safetensors'
        )
    with path.open('rb') as file:
        start = file.read(64)
    if start.startswith(b'version https://git-lfs'):
        return f'{path} is a git-lfs pointer, not the file itself: run git lfs pull'
    if not start:
        return f'{path} is empty'
    if not start.startswith((b'PK', b'\x80')) and path.suffix != '.safetensors':
        return f'{path} is not a torch checkpoint: it starts with {start[:24]!r}'
    reason = text.split('. ')[0][:160] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError):
        reason = 'its contents are not those of a plain torch checkpoint'
    return f'{path} cannot be read as a checkpoint, it may be damaged: {reason}'
