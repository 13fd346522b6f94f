"""What goes wrong with data."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used; the message names the file and what would be right."""


class DeadProcessError(DataError):
    """A process that decodes or loads died, and not because of one file."""
