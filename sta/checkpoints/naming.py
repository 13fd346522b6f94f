"""One renaming table per source of checkpoints, onto the names of mmaction2's recognizers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from .reader import CheckpointError


class Naming(NamedTuple):
    """How one source names its parameters.

    Attributes:
        source: what to call it in reports.
        mark: a regular expression that only its names match.
        table: (pattern, replacement), the first match of each is applied in turn.
    """

    source: str
    mark: str
    table: tuple[tuple[str, str], ...]


_VIDEOMAE_TABLE = (
    (r'^(?:module\.|encoder\.|_orig_mod\.)+', ''),
    (r'^(backbone\.)?patch_embed\.proj\.', 'backbone.patch_embed.projection.'),
    (r'^(backbone\.)?(blocks\.\d+\.)mlp\.fc1\.', r'backbone.\2mlp.layers.0.0.'),
    (r'^(backbone\.)?(blocks\.\d+\.)mlp\.fc2\.', r'backbone.\2mlp.layers.1.'),
    (r'^(blocks\.|fc_norm\.|norm\.|pos_embed$)', r'backbone.\1'),
    (r'^(backbone\.)?head\.', 'cls_head.fc_cls.'),
)
_MMACTION2_TABLE = (
    (r'^(?:module\.|_orig_mod\.)+', ''),
    (r'^(patch_embed\.|blocks\.|fc_norm\.|norm\.|pos_embed$)', r'backbone.\1'),
)
_VIDEOSWIN_TABLE = (
    (r'^(?:module\.|_orig_mod\.)+', ''),
    (r'^(patch_embed\.|layers\.|norm\d?\.)', r'backbone.\1'),
    # The authors' model ends in one norm; mmaction2's has one per stage that it returns.
    (r'^backbone\.norm\.', 'backbone.norm3.'),
)

NAMINGS = (
    Naming(
        'VideoSwin (its authors or mmaction2)',
        r'layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table',
        _VIDEOSWIN_TABLE,
    ),
    Naming('VideoMAE (authors of VideoMAE and STA)', r'blocks\.\d+\.mlp\.fc1\.', _VIDEOMAE_TABLE),
    Naming('mmaction2', r'blocks\.\d+\.mlp\.layers\.', _MMACTION2_TABLE),
)


def recognise(names: Mapping[str, Tensor]) -> Naming | None:
    """The naming a state dict follows, or None."""
    for naming in NAMINGS:
        if any(re.search(naming.mark, name) for name in names):
            return naming
    return None


def rename(state_dict: Mapping[str, Tensor], naming: Naming, where: str) -> dict[str, Tensor]:
    """Rename every tensor onto 'backbone.*' and 'cls_head.*'.

    Raises:
        CheckpointError: two tensors would get one name.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in naming.table:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise CheckpointError(f'{where}: two tensors are both called {name} by mmaction2')
        renamed[name] = tensor
    return renamed
