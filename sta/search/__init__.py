"""Search for the stages' places, directions and drops that change predictions least at a cost."""

from sta.errors import SearchError

from .outputs import SearchVideos, compare, difference_lines, overrides_of, search_videos
from .space import SearchSpace, space_of
from .study import MAX_SEED, Found, SearchClips, gflops_of, objective_of, open_study, search

__all__ = [
    'MAX_SEED',
    'Found',
    'SearchClips',
    'SearchError',
    'SearchSpace',
    'SearchVideos',
    'compare',
    'difference_lines',
    'gflops_of',
    'objective_of',
    'open_study',
    'overrides_of',
    'search',
    'search_videos',
    'space_of',
]
