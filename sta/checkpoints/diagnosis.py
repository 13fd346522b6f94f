"""What a file is that cannot be read as a checkpoint, and which command makes one of it."""

from __future__ import annotations

import pickle
import re
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from sta.errors import CheckpointError

from .errors import listed

_AGAIN = 'download it again, logged in where that is asked for'
# How files begin that people give by mistake.
_KINDS = (
    (rb'version https://git-lfs', 'is a git-lfs pointer, not the file itself: run git lfs pull'),
    (rb'\s*<(?i:!doctype|html|\?xml)', f'is a web page, not the file itself: {_AGAIN}'),
    (rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd', 'is compressed: unpack it first'),
    (rb'.{257}ustar', 'is a tar archive: unpack it and give the checkpoint that is in it'),
    (rb'\x89HDF\r\n', 'is an HDF5 file, of Keras perhaps: weights of PyTorch are needed'),
)
_ADAPTER = re.compile(r'\.(lora_|ia3_|hada_|lokr_|boft_|oft_|vera_|modules_to_save\.|base_layer\.)')
# bitsandbytes, GPTQ and AWQ, compressed-tensors, torch.ao.
_QUANTISED = re.compile(
    r'\.(SCB|weight_format|absmax|quant_map|quant_state\.[\w.]+|nested_\w+|qweight|qzeros|scales|'
    r'weight_scale(_inv)?|input_scale|weight_zero_point|_packed_params(\.\w+)?|scale|zero_point)$'
)
_WHOLE_NUMBERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)
_WEIGHT = re.compile(r'(weight|bias|embed|gamma_[12]|_table)$')
_MERGE = (
    'PeftModel.from_pretrained(base, ADAPTER).merge_and_unload().save_pretrained(FOLDER) of peft, '
    'and give that folder'
)
ADAPTER = 'is an adapter (LoRA, PEFT) without the model it belongs to'
_DEQUANTISE = (
    'save the weights in float16 or float32, as before they were quantised; transformers: '
    'from_pretrained(FOLDER).dequantize().save_pretrained(NEW)'
)
DEEPSPEED = 'python -m deepspeed.utils.zero_to_fp32 FOLDER TARGET'
_GATHER = (
    'save the whole of it: torch.distributed.checkpoint.state_dict.get_model_state_dict(model, '
    'options=StateDictOptions(full_state_dict=True, cpu_offload=True)); accelerate: '
    'accelerate merge-weights FOLDER TARGET'
)
# Libraries whose objects stand in files of other forms, and what those are.
_OF_LIBRARIES = (
    (r'torchao\.|bitsandbytes\.|optimum\.quanto|torch\.ao\.', f'it is quantised: {_DEQUANTISE}'),
    (
        r'torch\.distributed\.',
        f'it is one part of a model split among processes (FSDP): {_GATHER}',
    ),
    (
        r'deepspeed\.',
        f'it is of DeepSpeed, and not the weights: give mp_rank_00_model_states.pt, or for ZeRO-3 '
        f'what {DEEPSPEED} makes of its folder',
    ),
    (r'megatron\.', 'it is of Megatron-LM: convert it to Hugging Face with its tools/checkpoint'),
    (
        r'\w[\w.]*\.\w*TrainingArguments$|transformers\.train',
        'it is the arguments of a training, not its weights: give model.safetensors beside it',
    ),
)


def distributed_command(folder: Path) -> str:
    """The command that makes one file of a folder of torch.distributed.checkpoint."""
    return (
        f'python -m torch.distributed.checkpoint.format_utils dcp_to_torch '
        f'{shlex.quote(str(folder))} FILE.pth (it runs code that the folder holds: trust it first)'
    )


def refuse_other_forms(held: Any, where: str) -> None:
    """Refuse tensors that are no plain weights: adapters, quantised ones, parts of split ones.

    Args:
        held: names and values, which need not all be tensors.
        where: file, for messages.

    Raises:
        CheckpointError: says what it is and how to make plain weights of it.
    """
    if not isinstance(held, Mapping):
        return
    names = [name for name in held if isinstance(name, str)]
    tensors = {name: held[name] for name in names if isinstance(held[name], Tensor)}
    adapters = [name for name in names if _ADAPTER.search(name)]
    if adapters:
        is_whole = any('.base_layer.' in name for name in names)
        what = 'holds an adapter (LoRA, PEFT) that is not merged' if is_whole else ADAPTER
        raise CheckpointError(f'{where} {what} ({listed(adapters, 1)}): merge them, {_MERGE}')
    flat = [name for name in names if re.search(r'(^|\.|_)flat_param', name)]
    if flat:
        raise CheckpointError(
            f'{where} holds the flattened parameters of FSDP ({listed(flat, 1)}): {_GATHER}'
        )
    empty = [name for name, tensor in tensors.items() if tensor.numel() == 0]
    if empty:
        raise CheckpointError(
            f'{where}: {len(empty)} of its {len(tensors)} tensors are empty ({listed(empty, 1)}), '
            f'as in the files of DeepSpeed ZeRO-3, which splits weights among processes: '
            f'{DEEPSPEED} makes one file of its folder'
        )
    _refuse_quantised(names, tensors, where)
    for name, tensor in tensors.items():
        if type(tensor) not in (Tensor, nn.Parameter):
            kind = type(tensor).__name__
            raise CheckpointError(
                f'{where}: {listed([name])} is a {kind}, no plain tensor: {_GATHER}'
            )


def _refuse_quantised(names: list[str], tensors: Mapping[str, Tensor], where: str) -> None:
    marks = [name for name in names if _QUANTISED.search(name)]
    marks += [name for name, tensor in tensors.items() if tensor.is_quantized]
    if marks:
        raise CheckpointError(f'{where} is quantised ({listed(marks, 1)}): {_DEQUANTISE}')
    for name, tensor in tensors.items():
        kind = str(tensor.dtype)[6:]
        is_small = tensor.dtype in _WHOLE_NUMBERS or kind.startswith('float8')
        if is_small and _WEIGHT.search(name):
            raise CheckpointError(
                f'{where}: {listed([name])} is stored as {kind}, which needs a scale that is not '
                f'known here: {_DEQUANTISE}'
            )


def what_else(content: Any) -> str:
    """What a file without weights is instead, as a sentence to append; empty if unknown."""
    if not isinstance(content, Mapping):
        return ''
    names = {str(name) for name in content}
    inner = content.get('model')
    if 'ds_version' in names or 'ds_config' in names:
        return f'. It is of DeepSpeed, without weights: {DEEPSPEED} makes one file of its folder'
    if isinstance(inner, Mapping) and {'language_model', 'encoder'} & inner.keys():
        return '. It is of Megatron-LM: convert it to Hugging Face with its tools/checkpoint'
    has_optimizer = any(name.startswith('optim') for name in names) and inner is None
    if names >= {'state', 'param_groups'} or has_optimizer:
        return '. It is the state of an optimizer: the weights are in another file'
    return ''


def refuse_swollen_zip(path: Path) -> None:
    """Refuse a zip that would unpack to more than its own size, see :func:`refuse_swollen`."""
    with path.open('rb') as file:
        refuse_swollen(file, path.stat().st_size, str(path))


def refuse_swollen(file: BinaryIO, size: int, where: str) -> None:
    """Refuse a zip that would unpack to more than its own size.

    torch stores tensors as they are; a small file that fills the memory when read is an attack.

    Args:
        file: at its beginning, where it is left.
        size: bytes of it.
        where: for messages.

    Raises:
        CheckpointError: it would, or is packed.
    """
    start = file.read(2)
    file.seek(0)
    if start != b'PK':
        return
    with zipfile.ZipFile(file) as archive:
        num_bytes = sum(member.file_size for member in archive.infolist())
    file.seek(0)
    if num_bytes > size:
        raise CheckpointError(
            f'{where} was refused: its {size} bytes unpack to {num_bytes}, and torch '
            f'does not pack checkpoints; an archive of other things has to be unpacked first'
        )


def explain(path: Path, error: Exception) -> str:
    """Say why a file was not read, without torch's advice to switch its protection off.

    Args:
        path: the file.
        error: what a reader of torch or safetensors raised.
    """
    text = ' '.join(str(error).split())
    asked = re.search(r'(?:Unsupported global: GLOBAL|unsupported GLOBAL) ([\w.]+)', text)
    if asked:
        instead = next((what for p, what in _OF_LIBRARIES if re.match(p, asked[1])), None)
        return (
            f'{path} was refused: it asks to call {listed([asked[1]])} while being read. Only '
            f'tensors are loaded from checkpoints; '
            f'{instead or "save the plain state_dict, best as .safetensors"}'
        )
    if re.search(r'\b(DTensor|ShardedTensor)s?\b', text):
        return f'{path} is one part of a model split among processes (FSDP): {_GATHER}'
    with path.open('rb') as file:
        start = file.read(512)
    if not start:
        return f'{path} is empty'
    for pattern, what in _KINDS:
        if re.match(pattern, start, re.DOTALL):
            return f'{path} {what}'
    if start.startswith(b'PK'):
        return _explain_zip(path)
    if path.suffix != '.safetensors' and not start.startswith(b'\x80'):
        return f'{path} is not a torch checkpoint: it starts with {start[:24]!r}'
    reason = text.split('. ')[0][:160] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError):
        reason = 'its contents are not those of a plain torch checkpoint'
    return f'{path} cannot be read as a checkpoint, it may be damaged: {reason}'


def _explain_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises many kinds of errors on damaged archives
        return f'{path} is cut off or damaged: {_AGAIN}'
    is_of_torch = any(name.endswith('data.pkl') for name in names)
    if is_of_torch and path.suffix == '.safetensors':
        return f'{path} is a file of torch and no .safetensors: rename it to .pth'
    if is_of_torch:
        return f'{path} cannot be read as a checkpoint, it may be damaged: {_AGAIN}'
    return f'{path} is a zip archive of {listed(names)}, not a checkpoint: unpack it first'
