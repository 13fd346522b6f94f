"""What pruning does to a video, as pictures."""

from .explain import Explanation, check_stage, check_variant, explain
from .files import SUFFIXES, encode
from .recording import record
from .sheet import contact_sheet, contact_strip, draw_frames, draw_sheet
from .views import View, read_views

__all__ = [
    'SUFFIXES',
    'Explanation',
    'View',
    'check_stage',
    'check_variant',
    'contact_sheet',
    'contact_strip',
    'draw_frames',
    'draw_sheet',
    'encode',
    'explain',
    'read_views',
    'record',
]
