"""Which pruner an off-the-shelf model may run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sta.pruning import Pruner, PrunerError, build_pruner

from .errors import HostModelError


def usable_pruner(pruner: Any, host_name: str) -> Any:
    """Build a pruner and refuse those that need more of a model than dropping tokens.

    Args:
        pruner: settings dict(type=..., ...), a pruner, or None for STAPruner.
        host_name: for messages.

    Raises:
        PrunerError: unknown settings.
        HostModelError: it merges tokens, or drops them at the input.
    """
    if pruner is None or isinstance(pruner, Mapping):
        pruner = build_pruner(pruner or {'type': 'STAPruner'})
    elif not isinstance(pruner, Pruner):
        raise PrunerError(f"a pruner is dict(type='STAPruner', ...) or a Pruner, got {pruner!r}")
    name = type(pruner).__name__
    if pruner.merges:
        raise HostModelError(
            f'{name} merges tokens, which must count as often as the tokens they were made of, but '
            f'{host_name} pools by a plain mean: use a pruner that drops, such as STAPruner, or '
            f"sta's own STAVisionTransformer"
        )
    if pruner.at_input:
        raise HostModelError(
            f'{name} drops at the input whatever the schedule, a different number from every clip, '
            f"which {host_name} cannot run as one batch: use sta's own STAVisionTransformer"
        )
    return pruner
