"""Read weights out of a file from a stranger without running any code it may hold."""

from __future__ import annotations

import json
import os
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sta.errors import CheckpointError

from .containers import Contents, find_tensors
from .diagnosis import ADAPTER, DEEPSPEED, distributed_command, explain, refuse_swollen_zip
from .distributed import INDEX, SUFFIX, is_distributed, read_distributed
from .errors import listed

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


def read_state_dict(path: str | os.PathLike[str], take: str | None = None) -> dict[str, Tensor]:
    """Read named tensors, see :func:`read_contents`."""
    return read_contents(path, take).tensors


def read_contents(path: str | os.PathLike[str], take: str | None = None) -> Contents:
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
    before: list[Any] = getattr(torch.serialization, 'get_safe_globals', list)()
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


# As transformers itself looks for them.
FOLDER_FILES = (
    'model.safetensors',
    'model.safetensors.index.json',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)
INDEX_SUFFIX = '.index.json'
SHARD_SUFFIXES = ('.safetensors', '.bin')
LARGEST_INDEX = 16 * 2**20  # bytes; an index of 100,000 tensors has less
FILE_SUFFIXES = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors')
_ADAPTER_FILES = ('adapter_config.json', 'adapter_model.safetensors', 'adapter_model.bin')
_STATES = '*model_states.pt'  # DeepSpeed's files of weights
_HF_ADDRESS = re.compile(
    r'(?:https?://(?:www\.)?(?:huggingface\.co|hf\.co)/|hf:/+)([\w.-]+/[\w.-]+)'
)


def refuse_address(source: str | os.PathLike[str]) -> None:
    """Refuse an address: what is evaluated is a file of the user's, and nothing is downloaded.

    Raises:
        CheckpointError: says how to fetch it.
    """
    text = os.fspath(source)
    if not re.match(r'[A-Za-z][\w+.-]+:/', text) or Path(text).exists():
        return
    way = 'fetch it and give the path of the file'
    repository = _HF_ADDRESS.match(text)
    if repository:
        way = f'run {_fetch(repository[1])}'
    elif re.match(r'(?i)https?:', text):
        way = f'fetch it, curl -LO {shlex.quote(text)}, and give the path of the file'
    elif re.match(r'(?i)file:', text):
        way = 'give the path alone, without file:'
    raise CheckpointError(
        f'checkpoint {listed([text])} is an address, and nothing is downloaded; {way}'
    )


def hub_name(path: Path) -> str:
    """What to add where a path that is not there looks like a repository of Hugging Face."""
    text = str(path)
    is_name = re.fullmatch(r'[A-Za-z0-9][\w.-]*/[\w.-]+', text) and not path.parent.exists()
    if not is_name or path.suffix in FILE_SUFFIXES:
        return ''
    return (
        f' here; if it is the name of a Hugging Face repository: nothing is downloaded; '
        f'run {_fetch(text)}'
    )


def _fetch(repository: str) -> str:
    folder = repository.partition('/')[2]
    return f'hf download {repository} --local-dir {folder}, and give the folder {folder}'


def refuse_part(path: Path) -> None:
    """Refuse a file that is one part of a folder, by its name.

    Raises:
        CheckpointError: says what it is a part of, and what to give instead.
    """
    if path.name == INDEX or path.suffix == SUFFIX:
        folder = path.parent
        rest = 'give the folder'
        if not is_distributed(folder):
            rest = f'its index {INDEX} is not beside it, and cannot be done without'
        raise CheckpointError(
            f'{path} is one part of a folder of torch.distributed.checkpoint (FSDP): {rest} '
            f'{folder}; one file of it: {distributed_command(folder)}'
        )
    if path.name.endswith('optim_states.pt'):
        raise CheckpointError(
            f"{path} is the state of DeepSpeed's optimizer: give mp_rank_00_model_states.pt, or "
            f'for ZeRO-3 what {DEEPSPEED} makes of its folder'
        )
    if path.name in (_ADAPTER_FILES[0], 'config.json', 'zero_to_fp32.py'):
        raise CheckpointError(f'{path} holds no weights: give its folder {path.parent}')


def file_in_folder(folder: Path) -> Path:
    """The checkpoint that a folder holds: Hugging Face's, torch's, DeepSpeed's.

    Returns:
        A file; or the folder itself, where it is one of torch.distributed.checkpoint.

    Raises:
        CheckpointError: none of the usual names; says what it is, or which files to give instead.
    """
    there = [name for name in FOLDER_FILES if (folder / name).is_file()]
    adapters = [name for name in _ADAPTER_FILES if (folder / name).is_file()]
    if adapters:
        raise CheckpointError(_of_adapter(folder, there))
    if there:
        return folder / there[0]
    if is_distributed(folder):
        return folder
    states = _deepspeed_states(folder)
    if states:
        return _deepspeed_file(folder, states)
    raise CheckpointError(_without_checkpoint(folder))


def _of_adapter(folder: Path, there: list[str]) -> str:
    if there:
        return (
            f'checkpoint {folder} holds a whole model and an adapter (LoRA, PEFT) beside it: give '
            f'{folder / there[0]} for the model without the adapter, or merge them first'
        )
    base = _base_of_adapter(folder / _ADAPTER_FILES[0])
    name = f' ({listed([base])})' if base else ''
    return (
        f'checkpoint {folder} {ADAPTER}{name}: merge them, PeftModel.from_pretrained(base, '
        f'ADAPTER).merge_and_unload().save_pretrained(FOLDER) of peft, and give that folder'
    )


def _base_of_adapter(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > LARGEST_INDEX:
        return ''
    try:
        found = json.loads(path.read_text(encoding='utf-8')).get('base_model_name_or_path')
    except (ValueError, RecursionError, AttributeError):
        return ''
    return found if isinstance(found, str) else ''


def _deepspeed_states(folder: Path) -> list[Path]:
    """DeepSpeed's files of weights in a folder, or in the step of it that is the latest.

    Raises:
        CheckpointError: it holds several steps and does not say which is the latest.
    """
    states = sorted(folder.glob(_STATES))
    if states:
        return states
    steps = sorted(path.parent for path in folder.glob(f'*/{_STATES}'))
    latest = folder / 'latest'
    if latest.is_file() and latest.stat().st_size < 1000:
        name = latest.read_text(encoding='utf-8', errors='replace').strip()
        found = [step for step in steps if step.name == name]
        if steps and not found:
            raise CheckpointError(
                f'checkpoint {folder}: latest names {listed([name])}, whose weights are not there; '
                f'give one of its folders: {listed(sorted({step.name for step in steps}))}'
            )
        steps = found
    if len(set(steps)) > 1:
        names = sorted({step.name for step in steps})
        raise CheckpointError(
            f'checkpoint {folder} holds several steps of DeepSpeed: give one, {listed(names)}'
        )
    return sorted(steps[0].glob(_STATES)) if steps else []


def _deepspeed_file(folder: Path, states: list[Path]) -> Path:
    if len(states) == 1 and states[0].name.startswith('mp_rank_'):
        return states[0]
    what = 'DeepSpeed ZeRO-3' if states[0].name.startswith('zero_pp_rank_') else 'DeepSpeed'
    raise CheckpointError(
        f'checkpoint {folder} is of {what}, whose weights are split among {len(states)} files: '
        f'{DEEPSPEED.replace("FOLDER", shlex.quote(str(folder)))} makes one file of them'
    )


def _without_checkpoint(folder: Path) -> str:
    inside = sorted(folder.iterdir())
    if any(p.name == 'latest_checkpointed_iteration.txt' for p in inside) or any(
        folder.glob('mp_rank_*/model_optim_rng.pt')
    ):
        return (
            f'checkpoint {folder} is of Megatron-LM, whose weights are split among processes: '
            f'convert it to Hugging Face with its tools/checkpoint'
        )
    if any(path.name == 'zero_to_fp32.py' or path.match('global_step*') for path in inside):
        return (
            f'checkpoint {folder} is of DeepSpeed, without its files of weights, '
            f'{_STATES} in a folder global_step*'
        )
    if any(path.suffix == SUFFIX for path in inside):
        return (
            f'checkpoint {folder} is of torch.distributed.checkpoint, but its index {INDEX} is not '
            f'there, and cannot be done without'
        )
    folders = [path.name for path in inside if path.is_dir() and _looks_like_one(path)]
    others = [path.name for path in inside if path.suffix in FILE_SUFFIXES]
    text = (
        f'checkpoint {folder} is a folder without {", ".join(FOLDER_FILES[::2])} or an index of '
        f'shards'
    )
    text += f'; give one of its files: {listed(others)}' if others else ''
    return text + (f'; give one of its folders: {listed(folders)}' if folders else '')


def _looks_like_one(folder: Path) -> bool:
    if folder.name.startswith('optim'):
        return False
    names = (*FOLDER_FILES, *_ADAPTER_FILES, INDEX)
    return any((folder / name).is_file() for name in names) or any(folder.glob(_STATES))


def read_index(path: Path) -> dict[Path, set[str]]:
    """Read which shard holds which tensors.

    Args:
        path: a .index.json with a weight_map of tensor names to file names.

    Returns:
        Shards, which exist and lie in the folder of the index, and the names in each.

    Raises:
        CheckpointError: no such index, one that names files elsewhere, or shards that are missing.
    """
    weight_map = _weight_map(path)
    shards: dict[Path, set[str]] = {}
    for name, file in weight_map.items():
        # A file from a stranger must not make us open others: names only, no ways to them.
        if file != Path(file).name or '\\' in file or not file.endswith(SHARD_SUFFIXES):
            raise CheckpointError(
                f'{path} was refused: it asks for {listed([file])}, and shards are .safetensors or '
                f'.bin files beside their index'
            )
        shards.setdefault(path.parent / file, set()).add(name)
    missing = sorted(shard.name for shard in shards if not shard.is_file())
    if missing:
        raise CheckpointError(
            f'{path}: {len(missing)} of its {len(shards)} shards are not beside it: '
            f'{listed(missing)}'
        )
    return shards


def _weight_map(path: Path) -> dict[str, str]:
    if path.stat().st_size > LARGEST_INDEX:
        raise CheckpointError(f'{path} is too large for an index of shards')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError):
        raise CheckpointError(f'{path} is no index of shards: it is not JSON') from None
    found = content.get('weight_map') if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f'{path} is no index of shards: it has no weight_map')
    if not all(isinstance(file, str) for file in found.values()):
        raise CheckpointError(f'{path} is no index of shards: weight_map must hold file names')
    return found
