"""A pruned model as a file that runs without sta: torch.export (.pt2) or ONNX."""

from sta.compat import heal_host

heal_host()

from .checking import Agreement, compare  # noqa: E402  (the host must be healed first)
from .classifier import INPUTS, ClipClassifier, ExportError  # noqa: E402
from .program import Captured, capture  # noqa: E402
from .side_file import side_facts  # noqa: E402
from .writing import FORMATS, Exported, check_format, check_target, write_export  # noqa: E402

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
