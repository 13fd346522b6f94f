"""Prune a model of somebody else's, and give it back as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from sta.errors import HostModelError

from .adapters import HOSTS, Anatomy, TimmViT
from .swin import SwinPruning
from .vit import ViTPruning

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
            (see :class:`sta.hosts.adapters.TimmViT` for what is computed then).

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


OURS = ('sta.STAVisionTransformer', 'sta.STASwinTransformer3D')
POOLED_ELSEWHERE = 'it hands out tokens and does not pool them; use VideoMAEForVideoClassification'
CLASS_TOKEN = 'it reads a class token, which is no place of the token grid'
DIVIDED = 'its divided attention needs every place in every frame'
REFUSED = {
    'transformers.VideoMAEModel': POOLED_ELSEWHERE,
    'transformers.VideoMAEForPreTraining': 'it reconstructs what is masked, place by place',
    'transformers.TimesformerModel': DIVIDED,
    'transformers.VivitModel': CLASS_TOKEN,
    'transformers.ViTModel': CLASS_TOKEN,
    'mmaction.TimeSformer': DIVIDED,
    'mmaction.MViT': 'it pools its token grid in every stage',
    'mmaction.UniFormer': 'it starts with convolutions over the whole grid',
    'mmaction.UniFormerV2': CLASS_TOKEN,
}
"""Some that are often asked for; a model that is not named anywhere is refused without a reason."""


class Host(NamedTuple):
    """A model that can be pruned, found in what was given.

    Attributes:
        module: the model itself, such as the backbone of a recognizer.
        kind: one of HOSTS.
    """

    module: nn.Module
    kind: str


def find_host(model: Any) -> Host:
    """The one model that can be pruned in a model or a wrapper of it.

    Raises:
        HostModelError: there is none, or more than one; says what is supported.
    """
    if not isinstance(model, nn.Module):
        raise HostModelError(f'a model is a torch.nn.Module, got {type(model).__name__}')
    found, refused = [], []
    for module in model.modules():
        names = _names(module)
        if names & set(OURS):
            raise HostModelError(
                f'{type(module).__name__} prunes by itself: use backbone.set_schedule(...) and '
                f'backbone.set_pruner(...), or backbone.using(variant)'
            )
        found += [Host(module, kind) for kind in HOSTS if kind in names]
        refused += [f'{type(module).__name__}: {REFUSED[name]}' for name in names & set(REFUSED)]
    if len(found) == 1:
        if HOSTS[found[0].kind] is None and isinstance(model, nn.DataParallel):
            raise HostModelError(
                'nn.DataParallel copies a pruned SwinTransformer3D to other GPUs without its '
                'weights: use one process per GPU'
            )
        return found[0]
    if found:
        raise HostModelError(
            f'{type(model).__name__} holds {len(found)} models that can be pruned: give one of them'
        )
    reason = f' ({refused[0]})' if refused else ''
    kind = type(model)
    raise HostModelError(
        f'{kind.__module__.split(".")[0]}.{kind.__name__} cannot be pruned{reason}; supported are '
        f'{", ".join(HOSTS)}, bare or inside another module'
    )


def pruning_for(
    host: Host, *, schedule: Any, pruner: Any, num_frames: int | None
) -> ViTPruning | SwinPruning:
    """A schedule and a pruner that fit the host; nothing is changed yet.

    Raises:
        HostModelError, ScheduleError, PrunerError: they do not.
    """
    adapter = HOSTS[host.kind]
    if adapter is TimmViT:
        anatomy: Anatomy = TimmViT(num_frames=num_frames)
    elif num_frames is not None:
        raise HostModelError(
            f'num_frames is for models of images, timm.VisionTransformer; {host.kind} has its own'
        )
    elif adapter is None:
        return SwinPruning(host.module, schedule=schedule, pruner=pruner)
    else:
        anatomy = adapter()
    return ViTPruning(host.module, anatomy, schedule=schedule, pruner=pruner)


def _names(module: nn.Module) -> set[str]:
    """'library.Class' of a module and of what it is derived from."""
    return {f'{kind.__module__.split(".")[0]}.{kind.__name__}' for kind in type(module).__mro__}
