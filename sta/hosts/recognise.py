"""Which models can be pruned from outside, told by the names of their classes.

The libraries themselves are not imported: whoever has such a model has done so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from .errors import HostModelError
from .huggingface import HuggingFaceVideoMAE
from .mmaction_vit import MMActionViT
from .swin_pruning import SwinPruning
from .timm_vit import TimmViT
from .vit_pruning import ViTPruning

VIDEOMAE = 'transformers.VideoMAEForVideoClassification'
MMACTION_VIT = 'mmaction.VisionTransformer'
MMACTION_SWIN = 'mmaction.SwinTransformer3D'
TIMM_VIT = 'timm.VisionTransformer'
SUPPORTED = (VIDEOMAE, MMACTION_VIT, MMACTION_SWIN, TIMM_VIT)
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
        kind: one of SUPPORTED.
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
        found += [Host(module, kind) for kind in SUPPORTED if kind in names]
        refused += [f'{type(module).__name__}: {REFUSED[name]}' for name in names & set(REFUSED)]
    if len(found) == 1:
        if found[0].kind == MMACTION_SWIN and isinstance(model, nn.DataParallel):
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
        f'{", ".join(SUPPORTED)}, bare or inside another module'
    )


def pruning_for(
    host: Host, *, schedule: Any, pruner: Any, num_frames: int | None
) -> ViTPruning | SwinPruning:
    """A schedule and a pruner that fit the host; nothing is changed yet.

    Raises:
        HostModelError, ScheduleError, PrunerError: they do not.
    """
    if host.kind != TIMM_VIT and num_frames is not None:
        raise HostModelError(
            f'num_frames is for models of images, {TIMM_VIT}; {host.kind} has its own'
        )
    if host.kind == MMACTION_SWIN:
        return SwinPruning(host.module, schedule=schedule, pruner=pruner)
    if host.kind == TIMM_VIT:
        anatomy = TimmViT(num_frames=num_frames)
    else:
        anatomy = {VIDEOMAE: HuggingFaceVideoMAE, MMACTION_VIT: MMActionViT}[host.kind]()
    return ViTPruning(host.module, anatomy, schedule=schedule, pruner=pruner)


def _names(module: nn.Module) -> set[str]:
    """'library.Class' of a module and of what it is derived from."""
    return {f'{kind.__module__.split(".")[0]}.{kind.__name__}' for kind in type(module).__mro__}
