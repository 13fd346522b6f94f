"""GFLOPs of the schedules that a search meets."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from sta.analysis import count_costs
from sta.pruning import Variant

from .space import Gflops, Stages


def gflops_of(model: nn.Module, pruner: Mapping[str, Any], shape: tuple[int, ...]) -> Gflops:
    """Count schedules, each once however often it is met.

    Args:
        model: a recognizer.
        pruner: settings.
        shape: (3, frames, H, W) of one view.

    Returns:
        GFLOPs per view of a schedule; raises ScheduleError for one that drops too much.
    """

    @functools.cache
    def counted(text: str) -> float:
        (cost,) = count_costs(model, [Variant('trial', pruner, json.loads(text))], shape)
        return cost.gflops_per_view

    def gflops(stages: Stages) -> float:
        return counted(json.dumps(stages or None))

    return gflops
