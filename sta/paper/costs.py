"""What experiments cost, counted on models without weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sta.analysis import count_costs
from sta.engine.session import build_model_of_shapes
from sta.evaluation import Cost
from sta.pruning import PruningSchedule

from .experiment import Experiment, variant_of
from .findings import Findings
from .inputs import Inputs


def add_costs(findings: Findings, experiments: Iterable[Experiment], inputs: Inputs) -> None:
    """Count tokens, GFLOPs and parameters, and put the stages into words; needs no data.

    Views do not matter: what differs in them alone is counted once.

    Raises:
        ConfigError, ScheduleError: a config that is absent, or that a schedule does not fit.
    """
    by_config: dict[str, list[Experiment]] = {}
    for experiment in dict.fromkeys(experiments):
        by_config.setdefault(experiment.setting.config, []).append(experiment)
    for own in by_config.values():
        model = build_model_of_shapes(inputs.config(own[0].setting))
        counted: dict[str, tuple[Cost, str]] = {}
        for experiment in own:
            variant = variant_of(experiment)
            if variant.name not in counted:
                [cost] = count_costs(model, [variant], model.backbone.clip_shape)
                words = stages_in_words(model.backbone.parse_schedule(variant.schedule))
                counted[variant.name] = cost, words
            findings.costs[experiment], findings.stages[experiment] = counted[variant.name]


def stages_in_words(schedule: PruningSchedule) -> str:
    """'1: 8x64, 9: 4x64, 17: 2x64': chunks x drop behind each block, counted from 1.

    A VideoSwin's chunks are its frames, whose number is left out.
    """
    return ', '.join(f'{stage.after_block + 1}: {_drop(stage)}' for stage in schedule.stages) or '-'


def _drop(stage: Any) -> str:
    chunks = '' if stage.num_chunks is None else f'{stage.num_chunks}x'
    return f'{chunks}{stage.num_drop}{"b" if stage.backward else ""}'
