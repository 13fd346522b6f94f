"""Folders of torch.distributed.checkpoint (FSDP, Lightning, torchtitan), read without running any
code they may hold.

Such a folder has a pickled index, .metadata, and files that are torch archives one behind the
other. torch's own reader unpickles the index as it is, which would run code. Here the index is read
with an unpickler that knows inert stand-ins only, and each archive by torch's weights-only reader.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sta.errors import CheckpointError

from .containers import Contents, find_tensors
from .diagnosis import distributed_command, refuse_swollen
from .errors import listed

INDEX = '.metadata'
SUFFIX = '.distcp'
LARGEST_INDEX = 256 * 2**20  # bytes; an index of 100,000 tensors on 64 processes has less
# Names inside the index are of these. None is called: each is replaced by an empty record.
_KNOWN = ('torch.distributed.', 'torch.serialization', 'torch.storage', 'pathlib')


class _Chunk(NamedTuple):
    """A part of a tensor, and the bytes of a file that hold it."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int


class _Stored(NamedTuple):
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    chunks: tuple[_Chunk, ...]


def is_distributed(path: Path) -> bool:
    """Whether a path is a folder of torch.distributed.checkpoint."""
    return (path / INDEX).is_file()


def read_distributed(folder: Path, take: str | None = None) -> Contents:
    """Read the weights of a folder; of an optimizer's state beside them nothing is read.

    Args:
        folder: with .metadata and the files it names.
        take: see :func:`sta.checkpoints.containers.find_tensors`.

    Raises:
        CheckpointError: the index asks to call anything or cannot be understood, a part is not
            there, or holds something else than the index says.
    """
    where = str(folder)
    try:
        stored, keys = _read_index(folder)
        # Shapes alone are enough to choose; only what is chosen is read.
        empty = {n: torch.empty(s.shape, dtype=s.dtype, device='meta') for n, s in stored.items()}
        content = _nested(empty, keys)
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # a damaged pickle can fail anywhere
        raise CheckpointError(
            f'{folder / INDEX} cannot be read as an index of torch.distributed.checkpoint '
            f'({type(error).__name__}); where torch reads it: {distributed_command(folder)}'
        ) from None
    names = {id(tensor): name for name, tensor in empty.items()}
    found = find_tensors(content, where, take)
    tensors = {n: _assembled(folder, stored[names[id(t)]]) for n, t in found.tensors.items()}
    return found._replace(tensors=tensors)


class _Record:
    """Stands in for every object of the index; keeps what it was made of and does nothing."""

    state: Any

    def __new__(cls, *arguments: Any) -> _Record:
        record = super().__new__(cls)
        record.state = arguments
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __getitem__(self, name: str) -> Any:
        return self.state[name]


class _IndexReader(pickle.Unpickler):
    """Gives records in place of classes, and refuses all names that no index needs."""

    def find_class(self, module: str, name: str) -> Any:
        qualified = f'{module}.{name}'
        if qualified in ('torch.Size', 'builtins.tuple'):
            return tuple
        if qualified in ('collections.OrderedDict', 'builtins.dict'):
            return dict
        if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if f'{module}.'.startswith(tuple(f'{known.rstrip(".")}.' for known in _KNOWN)):
            return type('Record', (_Record,), {})
        raise CheckpointError(f'it asks to call {listed([qualified])} while being read')


def _read_index(folder: Path) -> tuple[dict[str, _Stored], Mapping[str, tuple[Any, ...]]]:
    """What is stored under which name, and the keys its name was put together from."""
    path = folder / INDEX
    if path.stat().st_size > LARGEST_INDEX:
        raise CheckpointError(f'{path} is too large for an index')
    try:
        index = _IndexReader(io.BytesIO(path.read_bytes())).load()
    except CheckpointError as error:
        raise CheckpointError(f'{path} was refused: {error}') from None
    places = {}
    for key, info in index['storage_data'].items():
        if info.state.get('transform_descriptors'):
            raise ValueError('packed')
        offset = key.state.get('offset')
        place = info['relative_path'], info['offset'], info['length']
        places[key['fqn'], None if offset is None else tuple(offset)] = place
    tensors = {
        str(name): _stored(str(name), meta.state, places)
        for name, meta in index['state_dict_metadata'].items()
        if isinstance(meta.state, Mapping) and 'chunks' in meta.state
    }
    keys = index.state.get('planner_data')
    return tensors, keys if isinstance(keys, Mapping) else {}


def _stored(name: str, meta: Mapping[str, Any], places: Mapping[Any, Any]) -> _Stored:
    dtype = meta['properties'].state[0]
    if not isinstance(dtype, torch.dtype):
        raise ValueError('no dtype')
    chunks = [
        _Chunk(
            tuple(map(int, chunk['offsets'])),
            tuple(map(int, chunk['sizes'])),
            *places[name, tuple(chunk['offsets'])],
        )
        for chunk in meta['chunks']
    ]
    return _Stored(name, dtype, tuple(map(int, meta['size'])), tuple(chunks))


def _nested(tensors: Mapping[str, Tensor], keys: Mapping[str, Any]) -> dict[Any, Any]:
    """The containers that were saved, with tensors at their places; those in lists have none."""
    nested: dict[Any, Any] = {}
    for name, tensor in tensors.items():
        path = keys.get(name)
        if not isinstance(path, tuple) or not path:
            path = (name,)
        inner = nested
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise CheckpointError(f'{listed([name])} lies inside another tensor')
        inner[path[-1]] = tensor
    return nested


def _assembled(folder: Path, stored: _Stored) -> Tensor:
    """A tensor put together from its parts, which must fill it exactly once."""
    where = f'{folder}: {listed([stored.name])}'
    numbers = sum(torch.Size(chunk.sizes).numel() for chunk in stored.chunks)
    inside = all(
        len(chunk.sizes) == len(chunk.offsets) == len(stored.shape)
        and all(0 <= o and 0 <= s and o + s <= n for o, s, n in zip(*chunk[:2], stored.shape))
        for chunk in stored.chunks
    )
    if not inside or numbers != torch.Size(stored.shape).numel():
        raise CheckpointError(f'{where} is not complete: its parts do not fill it')
    parts = [_part(folder, chunk, stored.dtype, where) for chunk in stored.chunks]
    tensor = torch.empty(stored.shape, dtype=stored.dtype)
    filled = torch.zeros(stored.shape, dtype=torch.bool)
    for chunk, part in zip(stored.chunks, parts):
        region = tuple(slice(o, o + s) for o, s in zip(chunk.offsets, chunk.sizes))
        tensor[region], filled[region] = part, True
    if not bool(filled.all()):
        raise CheckpointError(f'{where} is not complete: its parts do not fill it')
    return tensor


def _part(folder: Path, chunk: _Chunk, dtype: torch.dtype, where: str) -> Tensor:
    # A file from a stranger must not make us open others: names only, no ways to them.
    file = str(chunk.file)
    if file != Path(file).name or '\\' in file or not file.endswith(SUFFIX):
        raise CheckpointError(
            f'{folder / INDEX} was refused: it asks for {listed([file])}, and parts are {SUFFIX} '
            f'files beside it'
        )
    path = folder / file
    if not path.is_file():
        raise CheckpointError(f'{where}: {listed([file])} is not there')
    try:
        with path.open('rb') as stream:
            stream.seek(chunk.start)
            data = stream.read(min(chunk.length, path.stat().st_size))
        refuse_swollen(io.BytesIO(data), len(data), where)
        part = torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # cut off, damaged, or with something else than a tensor
        raise CheckpointError(
            f'{where}: {listed([file])} is cut off or damaged ({type(error).__name__})'
        ) from None
    is_it = isinstance(part, Tensor) and part.shape == chunk.sizes and part.dtype == dtype
    if not is_it or part.numel() * part.element_size() > len(data):
        raise CheckpointError(f'{where}: {listed([file])} holds something else than the index says')
    return part.detach()
