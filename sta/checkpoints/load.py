"""Load a checkpoint into a model: strictly, and saying what happened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sta.errors import CheckpointError

from .containers import Contents, find_tensors
from .errors import listed
from .hints import hint
from .naming import Tensors, Translation, translate
from .read import read_contents


@dataclass(frozen=True)
class LoadReport:
    """What loading a checkpoint did.

    Attributes:
        path: file, or 'state dict'.
        source: whose names it used.
        num_loaded: tensors copied into the model.
        num_parameters: numbers in them.
        unused: tensors left out on purpose: a head the model has no place for, biases of keys that
            are zero.
        cast: dtypes converted, e.g. 'float16 -> float32', or ''.
        anew: weights of the model that keep their own values on purpose, see
            :func:`sta.checkpoints.load_encoder`.
        notes: which weights were taken, where the file holds several, such as averaged ones.
    """

    path: str
    source: str
    num_loaded: int
    num_parameters: int
    unused: tuple[str, ...] = ()
    cast: str = ''
    anew: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = (
            f'loaded {self.num_loaded} tensors ({self.num_parameters / 1e6:.2f} M numbers) from '
            f'{self.path}, named as by {self.source}; none missing, none unexpected'
        )
        text += f'; begin anew: {listed(self.anew, 4)}' if self.anew else ''
        text += f'; converted {self.cast}' if self.cast else ''
        text += f'; not used: {listed(self.unused)}' if self.unused else ''
        return '; '.join((text, *self.notes))


def load_checkpoint(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Tensor]
) -> LoadReport:
    """Load weights from a file or a state dict, whichever known names they carry.

    Known are mmaction2's names, those of the authors of VideoMAE, STA and VideoSwin, and those of
    Hugging Face's VideoMAE, in a recognizer or a bare backbone. A file is never executed, see
    :func:`read_state_dict`.

    Args:
        model: a recognizer (with ``backbone`` and ``cls_head``) or a bare backbone, which ignores
            and reports the weights of a head.
        source: path of a .safetensors or torch file, an index of several, or a Hugging Face model's
            folder; or a mapping of names to tensors.

    Returns:
        A report; ``str(report)`` is one line.

    Raises:
        CheckpointError: unknown names, or a weight that is missing, unexpected or of another shape.
            The model is left as it was.
    """
    where, given = given_contents(source)
    return load_translated(model, translate(given.tensors, where), where, notes=given.notes)


def load_translated(
    model: nn.Module,
    translation: Translation,
    where: str,
    *,
    anew: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> LoadReport:
    """Copy tensors under mmaction2's names into a model they must fit.

    Args:
        model: a recognizer, or a bare backbone.
        translation: the tensors.
        where: file, for messages.
        anew: weights of the model that need not be there and keep their values.
        notes: what the report says of the choice of the tensors.

    Raises:
        CheckpointError: they do not fit. The model is left as it was.
    """
    own = model.state_dict()
    kept = {name: own[name] for name in anew}
    chosen, head = fit_to(
        model, translation._replace(tensors={**translation.tensors, **kept}), where
    )
    chosen = {name: tensor for name, tensor in chosen.items() if name not in kept}
    # Converted as a whole before the first is copied: a failure must leave the model as it was.
    converted = {n: as_weight(tensor, own[n].dtype, n, where) for n, tensor in chosen.items()}
    with torch.no_grad():
        for name, tensor in converted.items():
            own[name].copy_(tensor)
    casts = {(tensor.dtype, own[n].dtype) for n, tensor in chosen.items()}
    return LoadReport(
        path=where,
        source=translation.source,
        num_loaded=len(chosen),
        num_parameters=sum(tensor.numel() for tensor in chosen.values()),
        unused=(*sorted(head), *translation.left_out),
        cast=', '.join(sorted(f'{str(a)[6:]} -> {str(b)[6:]}' for a, b in casts if a != b)),
        anew=tuple(anew),
        notes=tuple(notes),
    )


def given_contents(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[str, Contents]:
    """What to call a source in messages, and its tensors under its own names.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not isinstance(source, Mapping):
        return str(source), read_contents(source)
    as_tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in source.items()
    }
    return 'state dict', find_tensors(as_tensors, 'state dict')


def fit_to(model: nn.Module, translation: Translation, where: str) -> tuple[Tensors, Tensors]:
    """Choose what a model has a place for, and check that it is all of it.

    Args:
        model: a recognizer, or a bare backbone, which has no place for a head.
        translation: tensors under mmaction2's names.
        where: file, for messages.

    Returns:
        The tensors under the model's names, and those of a head that a bare backbone leaves.

    Raises:
        CheckpointError: a weight is missing, unexpected or of another shape; names them and says
            what would fit.
    """
    given, head = translation.tensors, {}
    if not hasattr(model, 'backbone'):
        head = {name: t for name, t in given.items() if name.startswith('cls_head.')}
        given = {n.removeprefix('backbone.'): t for n, t in given.items() if n not in head}
    own = model.state_dict()
    problems = _problems(own, given, dict(model.named_buffers()))
    if problems:
        text = f'{where} does not fit the model ({"; ".join(problems)})'
        raise CheckpointError(text + hint(translation.tensors, own))
    return given, head


def as_weight(tensor: Tensor, dtype: torch.dtype, name: str, where: str) -> Tensor:
    """A weight in another dtype.

    Raises:
        CheckpointError: it is no dense real tensor, or holds NaN or infinity.
    """
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
        raise CheckpointError(f'{where}: {listed([name])} is no dense tensor of real numbers')
    converted = tensor.detach().to(dtype)
    if converted.is_floating_point() and not bool(converted.isfinite().all()):
        raise CheckpointError(f'{where}: {listed([name])} holds NaN or infinity')
    return converted


def _problems(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> list[str]:
    # Buffers are fixed tables (sine positions), which most sources do not store.
    missing = sorted(name for name in own if name not in given and name not in buffers)
    unexpected = sorted(name for name in given if name not in own)
    differing = [
        f'{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}'
        for name in sorted(given)
        if name in own and given[name].shape != own[name].shape
    ]
    return [
        f'{len(names)} {kind}: {listed(names)}'
        for names, kind in (
            (missing, 'missing'),
            (unexpected, 'unexpected'),
            (differing, 'of another shape'),
        )
        if names
    ]


# What self-supervised models have beside their encoder.
_DECODER = re.compile(r'^(decoder\.|encoder_to_decoder\.|mask_token$)')
_HEAD = 'cls_head.'
# Norms behind the last block: VideoMAE is pre-trained with one before its decoder and fine-tuned
# with another one behind the mean over tokens.
_LAST_NORMS = ('backbone.fc_norm.', 'backbone.norm.')


def load_encoder(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Tensor]
) -> LoadReport:
    """Load a backbone from a pre-trained or fine-tuned model; the classifier keeps its own weights.

    Every weight of embedding and blocks must be there and fit. What remains of the file, a decoder,
    a classifier of other classes, a last norm the model has no place for, is left out and reported.

    Args:
        model: recognizer with ``backbone`` and ``cls_head``.
        source: see :func:`sta.checkpoints.load_checkpoint`; also pre-training checkpoints of the
            authors of VideoMAE and Hugging Face's ``VideoMAEForPreTraining``.

    Returns:
        A report, which names the weights that begin anew.

    Raises:
        CheckpointError: unknown names, or a weight of embedding or blocks that is missing,
            unexpected or of another shape. The model is left as it was.
    """
    where, given = given_contents(source)
    translation = translate(given.tensors, where)
    own = model.state_dict()
    left_out = [name for name in translation.tensors if _is_left_out(name, own)]
    chosen = {n: t for n, t in translation.tensors.items() if n not in left_out}
    anew = [n for n in own if n.startswith((_HEAD, *_LAST_NORMS)) and n not in chosen]
    return load_translated(
        model,
        Translation(translation.source, chosen, (*sorted(left_out), *translation.left_out)),
        where,
        anew=anew,
        notes=given.notes,
    )


def _is_left_out(name: str, own: Mapping[str, Tensor]) -> bool:
    if name.startswith(_HEAD) or _DECODER.match(name):
        return True
    return name.startswith(_LAST_NORMS) and name not in own
