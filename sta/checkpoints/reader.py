"""Read weights out of a file from a stranger without running any code it may hold."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .containers import Contents, find_tensors
from .diagnosis import explain, refuse_swollen_zip
from .distributed import is_distributed, read_distributed
from .errors import CheckpointError, listed
from .parts import (
    INDEX_SUFFIX,
    file_in_folder,
    hub_name,
    read_index,
    refuse_address,
    refuse_part,
)

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
    # DeepSpeed, and Hydra's settings in files of Lightning
    'builtins.bool',
    'builtins.dict',
    'builtins.float',
    'builtins.int',
    'builtins.list',
    'builtins.str',
    'collections.defaultdict',
    'deepspeed.runtime.fp16.loss_scaler.LossScaler',
    'deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler',
    'deepspeed.runtime.zero.config.ZeroStageEnum',
    'deepspeed.utils.tensor_fragment.fragment_address',
    'omegaconf.base.ContainerMetadata',
    'omegaconf.base.Metadata',
    'omegaconf.dictconfig.DictConfig',
    'omegaconf.listconfig.ListConfig',
    'omegaconf.nodes.AnyNode',
    'omegaconf.nodes.BooleanNode',
    'omegaconf.nodes.FloatNode',
    'omegaconf.nodes.IntegerNode',
    'omegaconf.nodes.StringNode',
    'typing.Any',
)


def read_state_dict(path: str | os.PathLike, take: str | None = None) -> dict[str, Tensor]:
    """Read named tensors, see :func:`read_contents`."""
    return read_contents(path, take).tensors


def read_contents(path: str | os.PathLike, take: str | None = None) -> Contents:
    """Read named tensors from .safetensors or a torch file of any common container.

    Args:
        path: a file; torch files may nest the weights under state_dict, model, module or
            model_state_dict. Or the index of several files (.index.json), or the folder of a
            Hugging Face model, of torch.distributed.checkpoint or of DeepSpeed ZeRO-1 or 2.
        take: the weights that are meant where a file holds several, see
            :func:`sta.checkpoints.containers.find_tensors`.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one that asks to run code.
    """
    refuse_address(path)
    path = Path(path)
    try:
        if path.is_dir():
            path = file_in_folder(path)
        if is_distributed(path):
            return read_distributed(path, take)
        if not path.is_file():
            raise CheckpointError(f'checkpoint {path} does not exist{hub_name(path)}')
        refuse_part(path)
        is_index = path.name.endswith(INDEX_SUFFIX)
        content = _read_shards(path) if is_index else _read_file(path)
        return find_tensors(content, str(path), take)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from None


def _read_shards(index: Path) -> dict[str, Tensor]:
    """The tensors of all shards; each must hold what the index says, no more and no less."""
    tensors: dict[str, Tensor] = {}
    for shard, names in read_index(index).items():
        content = _read_file(shard)
        if not isinstance(content, Mapping):
            raise CheckpointError(f'{shard} holds no named tensors')
        found = {name: t for name, t in content.items() if isinstance(t, Tensor)}
        wrong = sorted(names ^ found.keys())
        if wrong:
            raise CheckpointError(
                f'{index}: {shard.name} does not hold what the index says, {len(wrong)} tensors '
                f'differ: {listed(wrong)}'
            )
        tensors |= found
    return tensors


def _read_file(path: Path) -> Any:
    """All that a file holds, in its containers."""
    try:
        if _is_safetensors(path):
            return load_file(path)
        refuse_swollen_zip(path)
        with _inert_stand_ins(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about the age of the file; a refusal is one line
            return torch.load(path, map_location='cpu', weights_only=True)
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # a damaged file can fail anywhere inside a foreign reader
        raise CheckpointError(explain(path, error)) from None


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
