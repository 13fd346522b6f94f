"""Token pruning for video transformers: pure functions on tensors, torch and einops only."""

from .baselines import RandomPruner, ToMeMergePruner, TubeRandomPruner
from .context import Pruned, StageContext, select_tokens
from .provenance import origins, trace
from .pruner import STAPruner, prune_stage
from .randomness import clip_fingerprint
from .schedule import PruningSchedule, PruningStage, ScheduleError
from .variant import Variant

__all__ = [
    'Pruned',
    'PruningSchedule',
    'PruningStage',
    'RandomPruner',
    'STAPruner',
    'ScheduleError',
    'StageContext',
    'ToMeMergePruner',
    'TubeRandomPruner',
    'Variant',
    'clip_fingerprint',
    'origins',
    'prune_stage',
    'select_tokens',
    'trace',
]
