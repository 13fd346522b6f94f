"""Checkpoints of other people's models, read safely and loaded strictly."""

from .converter import ConversionReport, convert_checkpoint
from .errors import CheckpointError
from .exporter import export_weights
from .loader import LoadReport, load_checkpoint
from .pretrained import load_encoder
from .reader import read_state_dict

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
