"""Search for the stages' places, directions and drops that change predictions least at a cost."""

from .comparison import compare, difference_lines
from .cost import gflops_of
from .objective import SearchClips, objective_of
from .overrides import overrides_of
from .space import SearchSpace, space_of
from .stored import SearchError, open_study
from .study import MAX_SEED, Found, search
from .videos import SearchVideos, search_videos

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
