"""Token pruning for video transformers: pure functions on tensors, torch and einops only."""

from importlib import import_module
from pkgutil import iter_modules

from sta.errors import PrunerError, ScheduleError, VariantError

from .base import (
    PRUNERS,
    Pruned,
    Pruner,
    StageContext,
    StageScores,
    WatchedPruner,
    build_pruner,
    select_tokens,
    short_names,
)
from .positions import nearest_kept, origins, trace
from .random_drop import RandomPruner, TubeRandomPruner, clip_fingerprint
from .run_length import RunLengthPruner, tubelet_changes
from .schedule import PruningSchedule, PruningStage, fit_to_grids, grid_ladder, parse_grid_schedule
from .sta import STAPruner, prune_stage
from .tome import SaliencyMergePruner, ToMeDropPruner, ToMeMergePruner
from .variants import (
    UNPRUNED,
    Variant,
    chosen_pruners,
    chosen_variants,
    expand_variants,
    parse_pruner_text,
    parse_schedule_text,
    pruner_name,
    with_seeds,
)

# A pruner is known once its class statement has run: a new file in this folder is enough.
for _file in iter_modules(__path__, f'{__name__}.'):
    import_module(_file.name)

__all__ = [
    'PRUNERS',
    'Pruned',
    'Pruner',
    'PrunerError',
    'PruningSchedule',
    'PruningStage',
    'RandomPruner',
    'RunLengthPruner',
    'STAPruner',
    'SaliencyMergePruner',
    'ScheduleError',
    'StageContext',
    'StageScores',
    'ToMeDropPruner',
    'ToMeMergePruner',
    'TubeRandomPruner',
    'UNPRUNED',
    'Variant',
    'VariantError',
    'WatchedPruner',
    'build_pruner',
    'chosen_pruners',
    'chosen_variants',
    'clip_fingerprint',
    'expand_variants',
    'fit_to_grids',
    'grid_ladder',
    'nearest_kept',
    'origins',
    'parse_grid_schedule',
    'parse_pruner_text',
    'parse_schedule_text',
    'prune_stage',
    'pruner_name',
    'select_tokens',
    'short_names',
    'trace',
    'tubelet_changes',
    'with_seeds',
]
