"""Token pruning for video transformers: pure functions on tensors, torch and einops only."""

from .baselines import RandomPruner, TubeRandomPruner
from .context import Pruned, StageContext, StageScores, select_tokens
from .fill import nearest_kept
from .grid_schedule import fit_to_grids, grid_ladder, parse_grid_schedule
from .provenance import origins, trace
from .pruner import prune_stage
from .randomness import clip_fingerprint
from .run_length import RunLengthPruner, tubelet_changes
from .schedule import PruningSchedule, PruningStage, ScheduleError
from .sta_pruner import STAPruner
from .tome import ToMeDropPruner, ToMeMergePruner
from .variant import Variant
from .vid_tldr import SaliencyMergePruner

__all__ = [
    'Pruned',
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
    'Variant',
    'clip_fingerprint',
    'fit_to_grids',
    'grid_ladder',
    'nearest_kept',
    'origins',
    'parse_grid_schedule',
    'prune_stage',
    'select_tokens',
    'trace',
    'tubelet_changes',
]
