"""Search for the stages' places, directions and drops that change predictions least at a cost."""

from .objective import SearchClips, objective_of
from .space import SearchSpace, space_of
from .study import Found, search

__all__ = ['Found', 'SearchClips', 'SearchSpace', 'objective_of', 'search', 'space_of']
