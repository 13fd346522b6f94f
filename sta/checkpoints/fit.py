"""Do tensors fit a model: the same names, the same shapes, numbers that are numbers?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .errors import CheckpointError, listed
from .hints import hint
from .naming import Tensors, Translation


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
