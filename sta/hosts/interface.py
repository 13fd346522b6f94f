"""Prune a model of somebody else's, and give it back as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .recognise import find_host, pruning_for
from .swin_pruning import SwinPruning
from .vit_pruning import ViTPruning

Model = TypeVar('Model', bound=nn.Module)
Pruning = ViTPruning | SwinPruning
# A plain attribute of the host: it is pickled and copied along, and is no part of its state_dict.
_ATTRIBUTE = '_sta_pruning'


def apply(
    model: Model, *, schedule: Any, pruner: Any = None, num_frames: int | None = None
) -> Model:
    """Drop tokens in a model, in place, until :func:`remove`; what it had before is replaced.

    Weights, state_dict and class stay as they are; pickle, torch.save and copy.deepcopy take the
    pruning along. What torch.compile made of any model before is compiled anew.

    Args:
        model: a VideoMAEForVideoClassification of transformers, a VisionTransformer or
            SwinTransformer3D of mmaction2, a VisionTransformer of timm, or anything around one,
            such as a Recognizer3D.
        schedule: what is dropped: None, an int (the paper's r), a list of ints (drops per chunk at
            the default places; VideoSwin: per frame after each merging), or a list of
            dict(after_block=, num_chunks=, num_drop=, backward=).
        pruner: how it is chosen: settings such as dict(type='RandomPruner', seed=0), a pruner, or
            None for STAPruner.
        num_frames: frames of a clip; for timm, whose models see images, and only there
            (see :class:`sta.hosts.timm_vit.TimmViT` for what is computed then).

    Returns:
        The same model.

    Raises:
        HostModelError: the model, or this pruner in it, is not supported; says what is.
        ScheduleError: the model cannot hold the schedule.
        PrunerError: unknown pruner or setting. After an error the model is as before.
    """
    _install(model, schedule, pruner, num_frames)
    return model


def remove(model: Model) -> Model:
    """Take the pruning out of a model: bit for bit what it was. Does nothing where there is none.

    Returns:
        The same model.

    Raises:
        HostModelError: not a supported model.
    """
    _put(find_host(model).module, None)
    return model


@contextmanager
def pruned(
    model: nn.Module, *, schedule: Any, pruner: Any = None, num_frames: int | None = None
) -> Iterator[Pruning]:
    """Run a model pruned inside a with block, and restore what it had before after it.

    Args:
        model: as for :func:`apply`, like the rest.
        schedule: what is dropped.
        pruner: how it is chosen.
        num_frames: frames of a clip, for timm.

    Yields:
        An object with the ``schedule`` and ``pruner`` in force and, after a forward pass, ``kept``,
        see :func:`kept`; it can be read after the block, too.

    Raises:
        HostModelError, ScheduleError, PrunerError: as :func:`apply`.
    """
    host = find_host(model).module
    before = _present(host)
    now = _install(model, schedule, pruner, num_frames)
    try:
        yield now
    finally:
        _put(host, before)


def kept(model: nn.Module) -> list[Tensor] | None:
    """Which tokens the last forward pass of a pruned model kept.

    Returns:
        (B, L_i) int64 per stage, indices into the input of that stage as
        :func:`sta.pruning.trace` takes them (VideoSwin: positions in the full grid behind the
        merging); None before the first pass and without pruning.

    Raises:
        HostModelError: not a supported model.
    """
    present = _present(find_host(model).module)
    return None if present is None else present.kept


def _install(model: nn.Module, schedule: Any, pruner: Any, num_frames: int | None) -> Pruning:
    host = find_host(model)
    new = pruning_for(host, schedule=schedule, pruner=pruner, num_frames=num_frames)
    _put(host.module, new)
    return new


def _present(host: nn.Module) -> Pruning | None:
    return host.__dict__.get(_ATTRIBUTE)


def _put(host: nn.Module, pruning: Pruning | None) -> None:
    """Exchange what a host has for something else, or for nothing."""
    present = _present(host)
    if present is not None or pruning is not None:
        _forget_compiled()
    if present is not None:
        present.detach(host)
        delattr(host, _ATTRIBUTE)
    if pruning is not None:
        pruning.attach(host)
        setattr(host, _ATTRIBUTE, pruning)


def _forget_compiled() -> None:
    """Have everything compiled anew: torch.compile does not notice hooks that come and go."""
    if 'torch._dynamo' in sys.modules and not torch.compiler.is_compiling():
        torch.compiler.reset()
