"""An evaluation as one self-contained HTML file."""

from .write import PAGE, write_page

__all__ = ['PAGE', 'write_page']
