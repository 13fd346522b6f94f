"""The hooks of a pruned vision transformer: objects, so that pickle and torch.compile take them.

Bound methods and closures would do the same in fewer lines; dynamo traces neither as a hook, and
pickle no closures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .errors import HostModelError

if TYPE_CHECKING:
    from .vit_pruning import ViTPruning

Args = tuple[Any, ...]


class Hook:
    """Something that a module calls; all hooks of a host share its pruning."""

    def __init__(self, pruning: ViTPruning) -> None:
        self.pruning = pruning


class Refuse:
    """In place of a method that cannot work while tokens are dropped."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: Any, **__: Any) -> None:
        """Raise HostModelError."""
        raise HostModelError(
            f'{self.name} wants the whole token grid behind every block, and tokens are dropped: '
            f'call sta.remove(model) first'
        )


class Prepare(Hook):
    """Before the host: forget a pass that was cut off."""

    def __call__(self, host: nn.Module, args: Args) -> None:
        """Forward pre-hook."""
        self.pruning.prepare(host)


class Begin(Hook):
    """Before the embedding: the pixels say which clips these are and what grid they have."""

    def __call__(self, embedding: nn.Module, args: Args, kwargs: dict[str, Any]) -> None:
        """Forward pre-hook, with keyword arguments."""
        self.pruning.begin(embedding, args, kwargs)


class Join(Hook):
    """Behind the embedding of frames: put those of a clip together."""

    def __call__(self, module: nn.Module, args: Args, tokens: Tensor) -> Tensor:
        """Forward hook."""
        return self.pruning.anatomy.join(tokens)


class Remember(Hook):
    """Behind a norm or feed-forward: keep its output for the stage behind this block."""

    def __call__(self, module: nn.Module, args: Args, features: Tensor) -> None:
        """Forward hook."""
        self.pruning.remember(features)


class Prune(Hook):
    """Behind the block of a stage: drop tokens."""

    def __init__(self, pruning: ViTPruning, number: int) -> None:
        super().__init__(pruning)
        self.number = number

    def __call__(self, block: nn.Module, args: Args, output: Any) -> Any:
        """Forward hook."""
        return self.pruning.prune(self.number, block, output)


class End(Hook):
    """Behind the host, also when it fails: forget the pass."""

    def __call__(self, host: nn.Module, args: Args, output: Any) -> None:
        """Forward hook that is always called."""
        self.pruning.end()
