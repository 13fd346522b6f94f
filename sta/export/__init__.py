"""A pruned model as a file that runs without sta: torch.export (.pt2) or ONNX."""

from sta.compat import heal_host
from sta.errors import ExportError

heal_host()

from .check import Agreement, compare  # noqa: E402  (the host must be healed first)
from .module import INPUTS, Captured, ClipClassifier, capture  # noqa: E402
from .write import (  # noqa: E402
    FORMATS,
    Exported,
    check_format,
    check_target,
    side_facts,
    write_export,
)

__all__ = [
    'FORMATS',
    'INPUTS',
    'Agreement',
    'Captured',
    'ClipClassifier',
    'ExportError',
    'Exported',
    'capture',
    'check_format',
    'check_target',
    'compare',
    'side_facts',
    'write_export',
]
