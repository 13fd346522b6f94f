"""The old address of :mod:`sta.atomic`."""

from sta.atomic import check_folder, check_target, replacing, write_text

__all__ = ['check_folder', 'check_target', 'replacing', 'write_text']
