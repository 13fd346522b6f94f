"""A small synthetic action data set in which the order in time decides the class."""

import sys

from . import clips

# Earlier documentation imports ClipSource from there.
sys.modules[f'{__name__}.clip'] = clips
