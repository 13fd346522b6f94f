"""Checkpoints of other people's models, read safely and loaded strictly."""

from sta.errors import CheckpointError

from .convert import ConversionReport, convert_checkpoint, export_weights
from .load import LoadReport, load_checkpoint, load_encoder
from .read import read_state_dict

__all__ = [
    'CheckpointError',
    'ConversionReport',
    'LoadReport',
    'convert_checkpoint',
    'export_weights',
    'load_checkpoint',
    'load_encoder',
    'read_state_dict',
]
