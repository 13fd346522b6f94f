"""Many evaluations as jobs of a cluster or of this machine: started, survived, collected."""

from .checks import plan
from .collect import Collected, collect
from .manifest import facts_of
from .plan import EXECUTORS
from .reading import read_sweep
from .start import Start

__all__ = ['EXECUTORS', 'Collected', 'Start', 'collect', 'facts_of', 'plan', 'read_sweep']
