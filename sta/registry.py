"""Registry of pruners. Models, transforms, loops and metrics register in mmaction's registries."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry

from . import pruning

PRUNERS = Registry('pruner', scope='sta')

for _pruner in (
    pruning.STAPruner,
    pruning.RandomPruner,
    pruning.TubeRandomPruner,
    pruning.ToMeMergePruner,
    pruning.ToMeDropPruner,
    pruning.SaliencyMergePruner,
    pruning.RunLengthPruner,
):
    PRUNERS.register_module(module=_pruner)


class PrunerError(ValueError):
    """Settings that make no pruner; the message says what is known."""


def build_pruner(settings: Mapping[str, Any]) -> Any:
    """Build a pruner from its settings.

    Args:
        settings: dict(type=name of a registered pruner, its arguments).

    Raises:
        PrunerError: no type, an unknown type or argument, a wrong value; names what is known.
    """
    arguments = dict(settings)
    name = arguments.pop('type', None)
    known = sorted(PRUNERS.module_dict)
    if name not in PRUNERS.module_dict:
        raise PrunerError(f'unknown pruner type {name!r}; known are {known}')
    pruner_class = PRUNERS.module_dict[name]
    accepted = list(inspect.signature(pruner_class).parameters)
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise PrunerError(f'{name} has no argument {unknown}; it accepts {accepted}')
    try:
        return pruner_class(**arguments)
    except (TypeError, ValueError) as error:
        raise PrunerError(f'{name}: {error}') from None
