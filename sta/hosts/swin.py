"""Token pruning for mmaction2's own SwinTransformer3D, bare or inside a recognizer."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sta.errors import HostModelError

if TYPE_CHECKING:
    from sta.models import STASwinTransformer3D

from .adapters import usable_pruner


class SwinPruning:
    """A schedule and a pruner for one host, and the forward that carries them out.

    Pruned window attention is another computation than the host's, so hooks will not do: the host
    gets an attribute ``forward`` of its own, which runs our STASwinTransformer3D, without weights,
    on the host's parameters and buffers. Class, modules and weights of the host stay as they are.

    Args:
        host: the model.
        schedule: see :func:`sta.pruning.parse_grid_schedule`.
        pruner: settings, a pruner, or None for STAPruner as STASwinTransformer3D has it.

    Attributes:
        kept: (B, T*K_i) int64 per stage of the last forward pass, positions in the full grid behind
            the merging; None before the first.

    Raises:
        HostModelError: the model cannot be pruned from outside.
        ScheduleError: it cannot hold the schedule or the pruner.
    """

    def __init__(self, host: nn.Module, *, schedule: Any, pruner: Any) -> None:
        usable_pruner(pruner, type(host).__name__)
        _check_forward(host)
        _check_checkpointing(host)
        self.skeleton = skeleton_of(host)
        self.skeleton.set_pruner(pruner or {'type': 'STAPruner'})
        self.skeleton.set_schedule(schedule)
        self.kept: list[Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'kept': None}

    @property
    def schedule(self) -> Any:
        """The parsed PruningSchedule."""
        return self.skeleton.schedule

    @property
    def pruner(self) -> Any:
        """The pruner in use."""
        return self.skeleton.pruner

    def attach(self, host: nn.Module) -> None:
        """Put our forward into the instance."""
        host.forward = PrunedForward(host, self)

    def detach(self, host: nn.Module) -> None:
        """Take it out again; the host is what it was.

        Raises:
            HostModelError: something else was put in its place meanwhile.
        """
        _check_forward(host)
        del host.forward

    def run(self, host: nn.Module, clip: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What STASwinTransformer3D puts out for a clip (B, 3, frames, H, W)."""
        _check_checkpointing(host)
        theirs = dict(host.named_modules())
        for name, module in self.skeleton.named_modules():
            module.training = theirs[name].training
        weights = {**dict(host.named_parameters()), **dict(host.named_buffers())}
        feature, self.kept = functional_call(
            self.skeleton, weights, (clip,), {'return_kept': True}, strict=True
        )
        return feature


class PrunedForward:
    """The forward of one host; a copied or pickled host gets one of its own."""

    def __init__(self, host: nn.Module, pruning: SwinPruning) -> None:
        self.host = host
        self.pruning = pruning

    def __call__(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the host, pruned; x (B, 3, frames, H, W)."""
        return self.pruning.run(self.host, x)


def _check_forward(host: nn.Module) -> None:
    if not isinstance(host.__dict__.get('forward'), PrunedForward | None):
        raise HostModelError(
            f'forward of this {type(host).__name__} was replaced by something else: undo that first'
        )


def _check_checkpointing(host: nn.Module) -> None:
    if host.training and any(getattr(module, 'with_cp', False) for module in host.modules()):
        raise HostModelError(
            'gradient checkpointing runs blocks a second time in training, without the weights '
            'that pruning lends them: build the model with with_cp=False, or call model.eval()'
        )


def skeleton_of(host: nn.Module) -> STASwinTransformer3D:
    """A STASwinTransformer3D on the meta device, to be run on the host's weights.

    What has no weights (activations, dropout, stochastic depth) and norms, whose epsilon counts,
    are copies of the host's own; scales of attention are the host's numbers.

    Raises:
        HostModelError: names or shapes of the weights differ.
    """
    from sta.models.swin import STASwinTransformer3D, swin_settings  # imports mmaction2

    with torch.device('meta'):
        skeleton = STASwinTransformer3D(**swin_settings(host))
    _refuse_other_weights(host, skeleton)
    ours = dict(skeleton.named_modules())
    for name, module in host.named_modules():
        leaf = not any(True for _ in module.children())
        if leaf and name in ours and not isinstance(module, nn.Linear | nn.Conv3d):
            parent, _, child = name.rpartition('.')
            setattr(ours[parent], child, copy.deepcopy(module).to('meta'))
        if name.endswith('.attn'):
            ours[name].scale = module.scale
            ours[name].attn_drop_rate = module.attn_drop.p
    return skeleton.to('meta')


def _refuse_other_weights(host: nn.Module, skeleton: nn.Module) -> None:
    theirs = {name: tuple(tensor.shape) for name, tensor in host.state_dict().items()}
    ours = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    differing = sorted(set(theirs.items()) ^ set(ours.items()))
    if differing:
        raise HostModelError(
            f'{len(differing)} weights of this SwinTransformer3D are not those of mmaction2 1.2, '
            f'such as {differing[0][0]}: merge adapters first, and do not quantise'
        )
