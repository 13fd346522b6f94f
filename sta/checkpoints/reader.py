"""Read weights out of a file from a stranger without running any code it may hold."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from .diagnosis import explain, refuse_swollen_zip
from .errors import CheckpointError, listed
from .parts import INDEX_SUFFIX, file_in_folder, read_index

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


class Contents(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        tensors: names as in the file, tensors on the CPU.
        beside: names of what is stored beside them, such as 'optimizer'; not read.
    """

    tensors: dict[str, Tensor]
    beside: tuple[str, ...] = ()


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read named tensors, see :func:`read_contents`."""
    return read_contents(path).tensors


def read_contents(path: str | os.PathLike) -> Contents:
    """Read named tensors from .safetensors or a torch file of any common container.

    Args:
        path: a file; torch files may nest the weights under state_dict, model, module or
            model_state_dict. Or the index of several files (.index.json), or the folder of a
            Hugging Face model.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one that asks to run code.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = file_in_folder(path)
        if not path.is_file():
            raise CheckpointError(f'checkpoint {path} does not exist')
        if path.name.endswith(INDEX_SUFFIX):
            return Contents(_read_shards(path))
        return _read_file(path)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from None


def find_tensors(content: Any, where: str) -> Contents:
    """Unwrap containers until a mapping of tensors appears.

    Raises:
        CheckpointError: there is none.
    """
    beside: list[str] = []
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        container = next((k for k in CONTAINERS if isinstance(content.get(k), Mapping)), None)
        if container is None:
            tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
            if tensors and all(isinstance(name, str) for name in tensors):
                beside += [str(name) for name in content if name not in tensors]
                return Contents(tensors, tuple(beside))
            break
        beside += [str(name) for name in content if name != container]
        content = content[container]
    held = type(content).__name__
    if isinstance(content, Mapping):
        held = f'a dict of [{listed(sorted(map(repr, content)), 6)}]'
    raise CheckpointError(
        f'{where} holds no weights but {held}: expected named tensors, '
        f'or a dict with one of {list(CONTAINERS)}'
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    """The tensors of all shards; each must hold what the index says, no more and no less."""
    tensors: dict[str, Tensor] = {}
    for shard, names in read_index(index).items():
        found = _read_file(shard).tensors
        wrong = sorted(names ^ found.keys())
        if wrong:
            raise CheckpointError(
                f'{index}: {shard.name} does not hold what the index says, {len(wrong)} tensors '
                f'differ: {listed(wrong)}'
            )
        tensors |= found
    return tensors


def _read_file(path: Path) -> Contents:
    try:
        if _is_safetensors(path):
            return Contents(load_file(path))
        refuse_swollen_zip(path)
        with _inert_stand_ins(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about the age of the file; a refusal is one line
            content = torch.load(path, map_location='cpu', weights_only=True)
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # a damaged file can fail anywhere inside a foreign reader
        raise CheckpointError(explain(path, error)) from None
    return find_tensors(content, str(path))


def _is_safetensors(path: Path) -> bool:
    """By name, or by what it holds: 8 bytes of length, then JSON."""
    if path.suffix == '.safetensors':
        return True
    with path.open('rb') as file:
        start = file.read(9)
    return len(start) == 9 and start.endswith(b'{') and start[5:8] == b'\0\0\0'


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
