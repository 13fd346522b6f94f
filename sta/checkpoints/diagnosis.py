"""Why a file could not be read as a checkpoint, in one line."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

from .errors import CheckpointError, listed

_AGAIN = 'download it again, logged in where that is asked for'
# How files begin that people give by mistake.
_KINDS = (
    (rb'version https://git-lfs', 'is a git-lfs pointer, not the file itself: run git lfs pull'),
    (rb'\s*<(?i:!doctype|html|\?xml)', f'is a web page, not the file itself: {_AGAIN}'),
    (rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd', 'is compressed: unpack it first'),
    (rb'.{257}ustar', 'is a tar archive: unpack it and give the checkpoint that is in it'),
    (rb'\x89HDF\r\n', 'is an HDF5 file, of Keras perhaps: weights of PyTorch are needed'),
)


def refuse_swollen_zip(path: Path) -> None:
    """Refuse a zip that would unpack to more than its own size.

    torch stores tensors as they are; a small file that fills the memory when read is an attack.

    Raises:
        CheckpointError: it would, or is packed.
    """
    with path.open('rb') as file:
        if file.read(2) != b'PK':
            return
        with zipfile.ZipFile(file) as archive:
            num_bytes = sum(member.file_size for member in archive.infolist())
    if num_bytes > path.stat().st_size:
        raise CheckpointError(
            f'{path} was refused: its {path.stat().st_size} bytes unpack to {num_bytes}, and torch '
            f'does not pack checkpoints; an archive of other things has to be unpacked first'
        )


def explain(path: Path, error: Exception) -> str:
    """Say why a file was not read, without torch's advice to switch its protection off.

    Args:
        path: the file.
        error: what a reader of torch or safetensors raised.
    """
    text = ' '.join(str(error).split())
    asked = re.search(r'(?:Unsupported global: GLOBAL|unsupported GLOBAL) ([\w.]+)', text)
    if asked:
        return (
            f'{path} was refused: it asks to call {listed([asked[1]])} while being read. Only '
            f'tensors are loaded from checkpoints; save the plain state_dict, best as .safetensors'
        )
    with path.open('rb') as file:
        start = file.read(512)
    if not start:
        return f'{path} is empty'
    for pattern, what in _KINDS:
        if re.match(pattern, start, re.DOTALL):
            return f'{path} {what}'
    if start.startswith(b'PK'):
        return _explain_zip(path)
    if path.suffix != '.safetensors' and not start.startswith(b'\x80'):
        return f'{path} is not a torch checkpoint: it starts with {start[:24]!r}'
    reason = text.split('. ')[0][:160] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError):
        reason = 'its contents are not those of a plain torch checkpoint'
    return f'{path} cannot be read as a checkpoint, it may be damaged: {reason}'


def _explain_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises many kinds of errors on damaged archives
        return f'{path} is cut off or damaged: {_AGAIN}'
    is_of_torch = any(name.endswith('data.pkl') for name in names)
    if is_of_torch and path.suffix == '.safetensors':
        return f'{path} is a file of torch and no .safetensors: rename it to .pth'
    if is_of_torch:
        return f'{path} cannot be read as a checkpoint, it may be damaged: {_AGAIN}'
    return f'{path} is a zip archive of {listed(names)}, not a checkpoint: unpack it first'
