"""Registry of pruners. Models, transforms, loops and metrics register in mmaction's registries.

It is no registry of mmengine: pruning a model of another library needs nothing of OpenMMLab.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from . import pruning

Pruner = TypeVar('Pruner', bound=type)


class PrunerRegistry:
    """Classes of pruners by name.

    Attributes:
        module_dict: the classes.
    """

    def __init__(self) -> None:
        self.module_dict: dict[str, type] = {}

    def register_module(self, module: Pruner) -> Pruner:
        """Add a class under its name; also a decorator.

        Raises:
            KeyError: another class has the name.
        """
        name = module.__name__
        if self.module_dict.setdefault(name, module) is not module:
            raise KeyError(f'a pruner is called {name} already')
        return module


PRUNERS = PrunerRegistry()

for _pruner in (
    pruning.STAPruner,
    pruning.RandomPruner,
    pruning.TubeRandomPruner,
    pruning.ToMeMergePruner,
    pruning.ToMeDropPruner,
    pruning.SaliencyMergePruner,
    pruning.RunLengthPruner,
):
    PRUNERS.register_module(_pruner)


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
