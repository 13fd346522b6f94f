"""An evaluation as one self-contained HTML file."""

from .examples import read_examples, write_examples
from .write import PAGE, write_page

__all__ = ['PAGE', 'read_examples', 'write_examples', 'write_page']
