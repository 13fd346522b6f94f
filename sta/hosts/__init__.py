"""Pruning in models as their libraries ship them: apply, remove, pruned; no class is exchanged."""

from sta.errors import HostModelError

from .patch import apply, kept, pruned, remove

__all__ = ['HostModelError', 'apply', 'kept', 'pruned', 'remove']
