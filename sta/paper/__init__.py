"""The paper's tables as data, and how to make each of their numbers again.

Start reading at :mod:`sta.paper.experiment`, then :mod:`sta.paper.tables`.
"""

from .experiment import Experiment, Setting
from .tables import TABLES, Column, Record, Table, build_tables, read_published

__all__ = [
    'TABLES',
    'Column',
    'Experiment',
    'Record',
    'Setting',
    'Table',
    'build_tables',
    'read_published',
]
