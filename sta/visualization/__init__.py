"""What pruning does to a video, as pictures."""

from sta.engine.clips import View, one_crop_of, read_views

from .examples import Example, Examples, Strip, make_examples
from .explain import Explanation, check_stage, check_variant, explain
from .maps import record
from .sheet import SUFFIXES, contact_sheet, contact_strip, draw_frames, draw_sheet, encode

__all__ = [
    'SUFFIXES',
    'Example',
    'Examples',
    'Explanation',
    'Strip',
    'View',
    'check_stage',
    'check_variant',
    'contact_sheet',
    'contact_strip',
    'draw_frames',
    'draw_sheet',
    'encode',
    'explain',
    'make_examples',
    'one_crop_of',
    'read_views',
    'record',
]
