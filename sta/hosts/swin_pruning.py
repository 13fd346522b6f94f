"""Token pruning for mmaction2's own SwinTransformer3D, bare or inside a recognizer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from .errors import HostModelError
from .variant import usable_pruner


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
        from .swin_skeleton import skeleton_of  # imports mmaction2

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
