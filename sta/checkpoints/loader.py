"""Load a checkpoint into a model: strictly, and saying what happened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .naming import recognise, rename
from .reader import CheckpointError, find_tensors, read_state_dict

_SIZES = {(384, 12): '_s', (768, 12): '', (1024, 24): '_l', (1280, 32): '_h'}
_SWIN_SIZES = {(96, (2, 2, 6, 2)): '_t', (96, (2, 2, 18, 2)): '_s', (128, (2, 2, 18, 2)): ''}
_SWIN_CONFIGS = ('_t_k400', '_s_k400', '_k400', '_ssv2')
_DATA_SETS = {400: 'k400', 174: 'ssv2'}


@dataclass(frozen=True)
class LoadReport:
    """What loading a checkpoint did.

    Attributes:
        path: file, or 'state dict'.
        source: whose names it used.
        num_loaded: tensors copied into the model.
        num_parameters: numbers in them.
        unused: tensors left out on purpose: a head the model has no place for.
        cast: dtypes converted, e.g. 'float16 -> float32', or ''.
    """

    path: str
    source: str
    num_loaded: int
    num_parameters: int
    unused: tuple[str, ...] = ()
    cast: str = ''

    def __str__(self) -> str:
        text = (
            f'loaded {self.num_loaded} tensors ({self.num_parameters / 1e6:.2f} M numbers) from '
            f'{self.path}, named as by {self.source}; none missing, none unexpected'
        )
        text += f'; converted {self.cast}' if self.cast else ''
        return text + (f'; not used: {", ".join(self.unused)}' if self.unused else '')


def load_checkpoint(
    model: nn.Module, source: str | os.PathLike | Mapping[str, Tensor]
) -> LoadReport:
    """Load weights from a file or a state dict, whichever known names they carry.

    Known are mmaction2's names and those of the authors of VideoMAE, STA and VideoSwin, in a
    recognizer or a bare backbone. A file is never executed, see :func:`read_state_dict`.

    Args:
        model: a recognizer (with ``backbone`` and ``cls_head``) or a bare backbone, which ignores
            and reports the weights of a head.
        source: path of a .safetensors or torch file, or a mapping of names to tensors.

    Returns:
        A report; ``str(report)`` is one line.

    Raises:
        CheckpointError: unknown names, or a weight that is missing, unexpected or of another shape.
            The model is left as it was.
    """
    if isinstance(source, Mapping):
        where, given = 'state dict', find_tensors(_as_tensors(source), 'state dict')
    else:
        where, given = str(source), read_state_dict(source)
    naming = recognise(given)
    if naming is None:
        names = ', '.join(sorted(given)[:4])
        raise CheckpointError(
            f'{where}: its names ({names}, ...) are of no known kind; known are the '
            f'authors of VideoMAE, STA and VideoSwin, and mmaction2'
        )
    renamed = rename(given, naming, where)
    unused: tuple[str, ...] = ()
    if not hasattr(model, 'backbone'):
        unused = tuple(sorted(name for name in renamed if name.startswith('cls_head.')))
        renamed = {
            name.removeprefix('backbone.'): tensor
            for name, tensor in renamed.items()
            if name not in unused
        }
    own = model.state_dict()
    _check(own, renamed, dict(model.named_buffers()), where)
    casts = {
        f'{str(t.dtype)[6:]} -> {str(own[n].dtype)[6:]}'
        for n, t in renamed.items()
        if t.dtype != own[n].dtype
    }
    # Converted as a whole before the first is copied: a failure must leave the model as it was.
    converted = {
        name: _converted(tensor, own[name], name, where) for name, tensor in renamed.items()
    }
    with torch.no_grad():
        for name, tensor in converted.items():
            own[name].copy_(tensor)
    return LoadReport(
        path=where,
        source=naming.source,
        num_loaded=len(renamed),
        num_parameters=sum(t.numel() for t in renamed.values()),
        unused=unused,
        cast=', '.join(sorted(casts)),
    )


def _as_tensors(source: Mapping[str, Any]) -> dict[str, Any]:
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in source.items()}


def _converted(tensor: Tensor, own: Tensor, name: str, where: str) -> Tensor:
    """A weight in the model's dtype.

    Raises:
        CheckpointError: it is no dense real tensor, or holds NaN or infinity.
    """
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
        raise CheckpointError(f'{where}: {name} is no dense tensor of real numbers')
    converted = tensor.detach().to(own.dtype)
    if converted.is_floating_point() and not bool(converted.isfinite().all()):
        raise CheckpointError(f'{where}: {name} holds NaN or infinity')
    return converted


def _check(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    where: str,
) -> None:
    # Buffers are fixed tables (sine positions), which most sources do not store.
    missing = sorted(name for name in own if name not in given and name not in buffers)
    unexpected = sorted(name for name in given if name not in own)
    differing = [
        f'{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}'
        for name in sorted(given)
        if name in own and given[name].shape != own[name].shape
    ]
    problems = [
        f'{len(names)} {kind}: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}'
        for names, kind in (
            (missing, 'missing'),
            (unexpected, 'unexpected'),
            (differing, 'of another shape'),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f'{where} does not fit the model ({"; ".join(problems)}){_hint(given)}'
        )


def _hint(given: Mapping[str, Tensor]) -> str:
    """What the checkpoint seems to be, from the shapes of its weights."""
    if any(name.startswith('decoder.') for name in given):
        return '. It is a pre-training checkpoint with a decoder: use the fine-tuned one'
    if any('relative_position_bias_table' in name for name in given):
        return _swin_hint(given)
    blocks = [int(m[1]) for m in (re.search(r'blocks\.(\d+)\.', name) for name in given) if m]
    width = next((t.shape[0] for n, t in given.items() if n.endswith('attn.proj.bias')), None)
    classes = next((t.shape[0] for n, t in given.items() if n.endswith('fc_cls.bias')), None)
    if not blocks or width is None:
        return ''
    depth = max(blocks) + 1
    text = f'. It holds {depth} blocks of width {width}'
    text += f' and {classes} classes' if classes else ''
    size, data = _SIZES.get((width, depth)), _DATA_SETS.get(classes)
    if size is not None and data:
        text += f': configs/sta_vit{size}_{data}.py would fit'
    return text


def _swin_hint(given: Mapping[str, Tensor]) -> str:
    places = [re.search(r'layers\.(\d+)\.blocks\.(\d+)\.', name) for name in given]
    blocks = {(int(place[1]), int(place[2])) for place in places if place}
    stages = range(max(stage for stage, _ in blocks) + 1)
    depths = tuple(len([1 for stage, _ in blocks if stage == i]) for i in stages)
    width = next((t.shape[0] for n, t in given.items() if n.endswith('patch_embed.proj.bias')), 0)
    rows = next(t.shape[0] for n, t in given.items() if n.endswith('bias_table'))
    classes = next((t.shape[0] for n, t in given.items() if n.endswith('fc_cls.bias')), None)
    text = f'. It holds {"-".join(map(str, depths))} blocks of a VideoSwin of width {width}'
    text += f', {rows} relative positions in a window'
    text += f' and {classes} classes' if classes else ''
    fitting = f'{_SWIN_SIZES.get((width, depths), "?")}_{_DATA_SETS.get(classes, "?")}'
    if fitting in _SWIN_CONFIGS:
        text += f': configs/sta_swin{fitting}.py would fit'
    return text
