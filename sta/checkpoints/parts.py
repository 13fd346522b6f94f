"""Checkpoints of several files: a Hugging Face model's folder, and the index of its shards."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import CheckpointError, listed

# As transformers itself looks for them.
FOLDER_FILES = (
    'model.safetensors',
    'model.safetensors.index.json',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)
INDEX_SUFFIX = '.index.json'
SHARD_SUFFIXES = ('.safetensors', '.bin')
LARGEST_INDEX = 16 * 2**20  # bytes; an index of 100,000 tensors has less
FILE_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')


def file_in_folder(folder: Path) -> Path:
    """The checkpoint that a Hugging Face model's folder holds.

    Raises:
        CheckpointError: none of the usual names; says which files to give instead.
    """
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(p.name for p in folder.iterdir() if p.suffix in FILE_SUFFIXES)
    raise CheckpointError(
        f'checkpoint {folder} is a folder without {", ".join(FOLDER_FILES[::2])} or an index of '
        f'shards{"; give one of its files: " + listed(others) if others else ""}'
    )


def read_index(path: Path) -> dict[Path, set[str]]:
    """Read which shard holds which tensors.

    Args:
        path: a .index.json with a weight_map of tensor names to file names.

    Returns:
        Shards, which exist and lie in the folder of the index, and the names in each.

    Raises:
        CheckpointError: no such index, one that names files elsewhere, or shards that are missing.
    """
    weight_map = _weight_map(path)
    shards: dict[Path, set[str]] = {}
    for name, file in weight_map.items():
        # A file from a stranger must not make us open others: names only, no ways to them.
        if file != Path(file).name or '\\' in file or not file.endswith(SHARD_SUFFIXES):
            raise CheckpointError(
                f'{path} was refused: it asks for {listed([file])}, and shards are .safetensors or '
                f'.bin files beside their index'
            )
        shards.setdefault(path.parent / file, set()).add(name)
    missing = sorted(shard.name for shard in shards if not shard.is_file())
    if missing:
        raise CheckpointError(
            f'{path}: {len(missing)} of its {len(shards)} shards are not beside it: '
            f'{listed(missing)}'
        )
    return shards


def _weight_map(path: Path) -> dict[str, str]:
    if path.stat().st_size > LARGEST_INDEX:
        raise CheckpointError(f'{path} is too large for an index of shards')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError):
        raise CheckpointError(f'{path} is no index of shards: it is not JSON') from None
    found = content.get('weight_map') if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f'{path} is no index of shards: it has no weight_map')
    if not all(isinstance(file, str) for file in found.values()):
        raise CheckpointError(f'{path} is no index of shards: weight_map must hold file names')
    return found
