"""Checkpoints of other people's models, read safely and loaded strictly."""

from .errors import CheckpointError
from .exporter import export_weights
from .loader import LoadReport, load_checkpoint
from .reader import read_state_dict

__all__ = [
    'CheckpointError',
    'LoadReport',
    'export_weights',
    'load_checkpoint',
    'read_state_dict',
]
