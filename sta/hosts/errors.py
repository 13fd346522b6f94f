"""What a model of somebody else's can be refused for."""

from __future__ import annotations


class HostModelError(ValueError):
    """A model that cannot be pruned from outside; the message says why and what can."""
