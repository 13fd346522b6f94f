"""`python -m sta.doctor`: what is installed, what is broken, and the command that mends it."""

from .report import main

__all__ = ['main']
