"""The paper's tables as data, and how to make each of their numbers again.

Start reading at :mod:`sta.paper.experiment`, then :mod:`sta.paper.tables`.
"""

from .catalogue import TABLES, build_tables
from .experiment import Cell, Column, Experiment, Row, Setting, Table
from .published import read_published

__all__ = [
    'TABLES',
    'Cell',
    'Column',
    'Experiment',
    'Row',
    'Setting',
    'Table',
    'build_tables',
    'read_published',
]
