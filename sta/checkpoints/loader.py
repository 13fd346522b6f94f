"""Load a checkpoint into a model: strictly, and saying what happened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .containers import Contents, find_tensors
from .errors import listed
from .fit import as_weight, fit_to
from .naming import Translation, translate
from .reader import read_contents


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
    model: nn.Module, source: str | os.PathLike | Mapping[str, Tensor]
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


def given_contents(source: str | os.PathLike | Mapping[str, Any]) -> tuple[str, Contents]:
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
